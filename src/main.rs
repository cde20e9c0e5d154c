//! The program: does what the command line says, and ends with the status that it promises.

use std::process::ExitCode;

use tcpwatch::cli::{self, Refusal};
use tcpwatch::run::{self, Outcome};

fn main() -> ExitCode {
    let config = match cli::parse(std::env::args_os()) {
        Ok(config) => config,
        Err(Refusal::Text(text)) => return run::print_and_end(&text),
        Err(Refusal::Usage(text)) => {
            run::complain(&text);
            return ExitCode::from(2);
        }
    };
    match run::run(config) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NothingMatched | Outcome::Found | Outcome::TimedOut | Outcome::NotShown) => {
            ExitCode::from(1)
        }
        Ok(Outcome::CanNotTell) => ExitCode::from(2),
        Ok(Outcome::Failed) => ExitCode::from(3),
        Ok(Outcome::Actor(code)) => code,
        Err(error) if run::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            run::complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
