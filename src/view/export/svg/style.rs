//! What a picture looks like, light and dark, and how text gets into it.
//!
//! Each state has a colour and is named beside; the colours are light in the light and dark in the
//! dark, so that the name can be read on them. A viewer that knows no media queries shows it light.

use crate::model::TcpState;
use crate::view::plain::plain;

/// Colours of both.
pub(super) const STYLE: &str = "\
text{font-family:ui-sans-serif,system-ui,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px;fill:#1c2330}
.m,.m text{font-family:ui-monospace,'SF Mono','DejaVu Sans Mono',monospace;font-size:11px}
.h{font-size:17px;font-weight:600}
.b{font-weight:600;font-size:14px}
.q{fill:#5a6577}
.l{font-size:11px;font-family:ui-monospace,'SF Mono','DejaVu Sans Mono',monospace;fill:#10151e}
.bg{fill:#ffffff}
.card{fill:#f6f8fa;stroke:#d5dbe3}
.lane{fill:#e9edf2}
.ax{stroke:#7b8798;fill:none}
.gr{stroke:#c3cad4;fill:none;stroke-dasharray:2 3}
.brk{stroke:#5a6577;fill:none}
.cut{fill:#f6f8fa;stroke:#5a6577}
.bar{stroke:#3c4657;stroke-width:.8}
.inf{stroke:#3c4657;stroke-width:1.3;stroke-dasharray:4 2.5;fill-opacity:.45}
.fz{fill-opacity:.55;stroke:none}
.hl{stroke:#3c4657;stroke-width:.7}
.end{stroke:#1c2330;stroke-width:2}
.al{fill:#c8102e;stroke:#ffffff;stroke-width:1}
.no{fill:#ffffff;stroke:#1c2330;stroke-width:1.3}
.syn{fill:#b4e3bf}.est{fill:#a8dbe9}.fw1{fill:#ffcf70}.fw2{fill:#ffe7b0}.cls{fill:#f3b65a}
.cw{fill:#e7b3ec}.la{fill:#f3d6f5}.tw{fill:#bccdf6}
@media (prefers-color-scheme:dark){
text{fill:#e6ebf2}
.q{fill:#9aa7ba}.l{fill:#f4f7fb}
.bg{fill:#0f141b}.card{fill:#171e27;stroke:#2d3846}.lane{fill:#212a36}
.ax{stroke:#8492a6}.gr{stroke:#3b4757}.brk{stroke:#9aa7ba}.cut{fill:#171e27;stroke:#9aa7ba}
.bar,.inf,.hl{stroke:#c9d3e0}
.end{stroke:#e6ebf2}
.al{fill:#ff5a6e;stroke:#0f141b}.no{fill:#0f141b;stroke:#e6ebf2}
.syn{fill:#1d6b3a}.est{fill:#146579}.fw1{fill:#8f6200}.fw2{fill:#665017}.cls{fill:#a4590c}
.cw{fill:#7d3188}.la{fill:#5a2c60}.tw{fill:#31509c}
}";

/// The class of a state's colour.
pub(super) const fn class(state: TcpState) -> &'static str {
    match state {
        TcpState::SynSent | TcpState::SynRecv => "syn",
        TcpState::Established => "est",
        TcpState::FinWait1 => "fw1",
        TcpState::FinWait2 => "fw2",
        TcpState::Closing => "cls",
        TcpState::CloseWait => "cw",
        TcpState::LastAck => "la",
        TcpState::TimeWait => "tw",
        TcpState::Close | TcpState::Listen => "lane",
    }
}

/// Text as XML has it. What XML can't hold at all is shown as its number.
pub(in crate::view::export) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// In lines of so many characters. A word that is longer is cut.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut taken = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        for (part, letters) in letters.chunks(columns.max(1)).enumerate() {
            let space = usize::from(taken > 0 && part == 0);
            if taken + space + letters.len() > columns && taken > 0 {
                lines.push(String::new());
                taken = 0;
            }
            if let Some(line) = lines.last_mut() {
                if taken > 0 && part == 0 {
                    line.push(' ');
                    taken += 1;
                }
                line.extend(letters);
                taken += letters.len();
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_text() {
        assert_eq!(
            escaped("</svg>]]>&\"'\u{1b}\u{202e}\u{ffff}"),
            "&lt;/svg&gt;]]&gt;&amp;&quot;&#39;\\u{1b}\\u{202e}\\u{ffff}"
        );
    }

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrapped("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
