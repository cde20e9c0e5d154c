//! Reads an expression.
//!
//! It is typed by a person, letter by letter, so every refusal names its place. The trap: a word
//! that is no field is looked for in the names of processes, and a field with a slip of the finger
//! would be too. Its value gives it away: two conditions beside each other are refused.

use std::ops::Range;

use crate::model::filter::expr::field::{Field, no_field};
use crate::model::filter::expr::lex::{Kind, Sign, Token, tokens};
use crate::model::filter::expr::{Compare, ExprError, Node, Term, Which, WordSet, Words, value};
use crate::model::filter::{
    FilterError, NamePart, Network, PortSet, ProcessName, ProcessSet, parse_pid,
};
use crate::model::tcp::StateSet;

/// So deep conditions may lie in each other.
const DEPTH: usize = 64;

/// A value, and where it stands.
struct Value<'a> {
    text: &'a str,
    is_quoted: bool,
    range: &'a Range<usize>,
}

impl Value<'_> {
    fn refused(&self, why: impl ToString) -> ExprError {
        ExprError::new(self.range.clone(), why.to_string())
    }
}

pub(super) fn parse(text: &str, words: &'static Words) -> Result<Option<Node>, ExprError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        text,
        tokens: &tokens,
        next: 0,
        depth: 0,
        words,
        before: None,
    };
    let node = parser.either()?;
    match parser.peek() {
        None => Ok(Some(node)),
        Some(_) => Err(parser.beside()),
    }
}

struct Parser<'t, 'a> {
    text: &'a str,
    tokens: &'t [Token<'a>],
    next: usize,
    depth: usize,
    words: &'static Words,
    /// The condition read last, and whether it is a word that was taken for a name.
    before: Option<(Range<usize>, bool)>,
}

impl<'t, 'a> Parser<'t, 'a> {
    fn peek(&self) -> Option<&'t Token<'a>> {
        self.tokens.get(self.next)
    }

    fn take(&mut self, kind: &Kind<'_>) -> bool {
        let is_it = self.peek().is_some_and(|token| token.kind == *kind);
        self.next += usize::from(is_it);
        is_it
    }

    /// Where something is missing: at the next word, or at the end.
    fn here(&self) -> Range<usize> {
        let end = self.text.len();
        self.peek().map_or(end..end, |token| token.range.clone())
    }

    fn written(&self, range: &Range<usize>) -> String {
        let written = self.text.get(range.clone()).unwrap_or_default();
        written.escape_default().to_string()
    }

    fn either(&mut self) -> Result<Node, ExprError> {
        let mut nodes = vec![self.all()?];
        while self.take(&Kind::Or) {
            nodes.push(self.all()?);
        }
        Ok(Node::any(nodes))
    }

    fn all(&mut self) -> Result<Node, ExprError> {
        let mut nodes = vec![self.one()?];
        while self.take(&Kind::And) {
            nodes.push(self.one()?);
        }
        Ok(Node::all(nodes))
    }

    fn one(&mut self) -> Result<Node, ExprError> {
        self.depth += 1;
        if self.depth > DEPTH {
            let message = format!("more than {DEPTH} conditions lie in each other here");
            return Err(ExprError::new(self.here(), message));
        }
        let place = self.here();
        let node = if self.take(&Kind::Not) {
            Node::not(self.one()?)
        } else if self.take(&Kind::Open) {
            self.grouped(&place)?
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn grouped(&mut self, open: &Range<usize>) -> Result<Node, ExprError> {
        let node = self.either()?;
        if self.take(&Kind::Close) {
            self.before = Some((open.start..self.tokens[self.next - 1].range.end, false));
            return Ok(node);
        }
        Err(match self.peek() {
            None => ExprError::new(open.clone(), "this '(' has no ')'"),
            Some(_) => self.beside(),
        })
    }

    /// Something stands where `and` or `or` should.
    fn beside(&self) -> ExprError {
        let here = self.here();
        let token = self.peek().map(|token| &token.kind);
        let written = self.written(&here);
        let message = match (token, &self.before) {
            (Some(Kind::Close), _) => "this ')' has no '('".to_owned(),
            (Some(Kind::Sign(_)), Some((before, true))) => {
                let before = self.written(before);
                format!("'{before}' {}", no_field(&before))
            }
            (Some(Kind::Sign(_) | Kind::Comma), Some((before, _))) => {
                let before = self.written(before);
                format!("'{written}' is out of place behind '{before}' (allowed: and, or)")
            }
            (_, Some((before, is_name))) => {
                let before = self.written(before);
                let hint = match is_name {
                    true => format!("; '{before}' {}", no_field(&before)),
                    false => String::new(),
                };
                format!(
                    "'{written}' stands beside '{before}' and nothing joins them (allowed: and, \
                     or){hint}"
                )
            }
            (_, None) => format!("'{written}' is out of place"),
        };
        ExprError::new(here, message)
    }

    fn term(&mut self) -> Result<Node, ExprError> {
        let here = self.here();
        let Some(token) = self.peek() else {
            return Err(self.misses_a_condition(&here));
        };
        let start = token.range.start;
        let field = match &token.kind {
            Kind::Word(word) => Field::of(word),
            Kind::Quoted(_) => None,
            _ => return Err(self.misses_a_condition(&here)),
        };
        let (node, is_name) = match field {
            Some(field) => {
                self.next += 1;
                (self.of_field(field, token)?, false)
            }
            None => {
                let (term, is_name) = self.bare()?;
                (Node::Term(term), is_name)
            }
        };
        let end = self.tokens[self.next - 1].range.end;
        self.before = Some((start..end, is_name));
        Ok(node)
    }

    fn misses_a_condition(&self, here: &Range<usize>) -> ExprError {
        let found = match here.is_empty() {
            true => "a condition is missing at the end".to_owned(),
            false => format!("'{}' stands where a condition should", self.written(here)),
        };
        let message = format!("{found} (such as port 80, state close-wait, not closed)");
        ExprError::new(here.clone(), message)
    }

    fn of_field(&mut self, field: Field, token: &Token<'a>) -> Result<Node, ExprError> {
        match field {
            Field::Open(is_open) => return self.alone(token, Term::Open(is_open)),
            Field::Family(family) => return self.alone(token, Term::Family(family)),
            _ => {}
        }
        let here = self.here();
        let sign = match self.peek().map(|token| &token.kind) {
            Some(Kind::Sign(sign)) => {
                self.next += 1;
                Some(*sign)
            }
            _ => None,
        };
        let values = self.values(field)?;
        match sign {
            None => self.compared(field, None, &values, here).map(Node::Term),
            Some(Sign::Is(compare)) => self
                .compared(field, Some(compare), &values, here)
                .map(Node::Term),
            Some(Sign::IsNot) if matches!(field, Field::Age | Field::Bytes(_)) => {
                let name = field.name();
                let message = format!(
                    "'!=' can be meant of one end or of both: write '{name} {}', or 'not {name} \
                     ...' for connections of which neither end is so",
                    field.allowed()
                );
                Err(ExprError::new(here, message))
            }
            Some(Sign::IsNot) => {
                let term = self.compared(field, None, &values, here)?;
                Ok(Node::not(Node::Term(term)))
            }
        }
    }

    /// A field that has no value.
    fn alone(&self, token: &Token<'a>, term: Term) -> Result<Node, ExprError> {
        if let Some(Kind::Sign(_)) = self.peek().map(|token| &token.kind) {
            let name = self.written(&token.range);
            let message = format!("'{name}' stands alone (allowed: {name}, not {name})");
            return Err(ExprError::new(self.here(), message));
        }
        Ok(Node::Term(term))
    }

    /// The values behind a field: one, or several with commas between.
    fn values(&mut self, field: Field) -> Result<Vec<Value<'t>>, ExprError> {
        let mut values = vec![self.value(field)?];
        while self.take(&Kind::Comma) {
            values.push(self.value(field)?);
        }
        Ok(values)
    }

    fn value(&mut self, field: Field) -> Result<Value<'t>, ExprError> {
        let value = self.peek().and_then(value_of);
        self.next += usize::from(value.is_some());
        value.ok_or_else(|| {
            let (name, allowed) = (field.name(), field.allowed());
            let here = self.here();
            let found = match self.peek().map(|token| &token.kind) {
                Some(Kind::And | Kind::Or | Kind::Not) => {
                    format!(
                        ", and '{}' is no value unless it is quoted",
                        self.written(&here)
                    )
                }
                _ => String::new(),
            };
            ExprError::new(
                here,
                format!("{name} needs a value{found} (allowed: {allowed})"),
            )
        })
    }

    fn compared(
        &self,
        field: Field,
        compare: Option<Compare>,
        values: &[Value<'_>],
        sign: Range<usize>,
    ) -> Result<Term, ExprError> {
        let (first, rest) = match values {
            [first, rest @ ..] => (first, rest),
            [] => return Err(self.misses_a_condition(&sign)),
        };
        let is_order = compare.is_some_and(|compare| compare != Compare::Equal);
        let takes_one = is_order || matches!(field, Field::Age | Field::Bytes(_) | Field::Severity);
        if let (true, Some(second)) = (takes_one, rest.first()) {
            let name = field.name();
            let message = format!("{name} is compared with one value, not with a list");
            return Err(second.refused(message));
        }
        let refused = |why: String| first.refused(why);
        match (field, compare) {
            (Field::Port(which), Some(compare)) if is_order => {
                let ports = value::ports_beyond(first.text, compare).map_err(refused)?;
                Ok(Term::Port(which, ports))
            }
            (Field::Age, Some(compare)) if compare != Compare::Equal => {
                let age = value::age(first.text).map_err(refused)?;
                Ok(Term::Age(compare, age))
            }
            (Field::Age, _) => {
                let message = format!("age is compared (allowed: {})", field.allowed());
                Err(match compare {
                    Some(_) => ExprError::new(sign, message),
                    None => first.refused(message),
                })
            }
            (Field::Bytes(queue), _) => {
                let bytes = value::bytes(first.text).map_err(refused)?;
                let compare = compare.unwrap_or(Compare::Equal);
                Ok(Term::Bytes(queue, compare, bytes))
            }
            (Field::Severity, _) => {
                let among = self.words.severities;
                let rank = value::rank(first.text, "severity", among).map_err(refused)?;
                Ok(Term::Severity(compare.unwrap_or(Compare::Equal), rank))
            }
            _ if is_order => {
                let name = field.name();
                let message = format!("{name} has no order (allowed: {name} {})", field.allowed());
                Err(ExprError::new(sign, message))
            }
            _ => listed(field, values, self.words),
        }
    }

    /// A condition without a field: by what its value looks like.
    fn bare(&mut self) -> Result<(Term, bool), ExprError> {
        let (kind, mut values) = (Field::Process, self.values(Field::Process)?);
        let field = match values.first() {
            Some(first) if !first.is_quoted => looks_like(first, self.words)?,
            _ => None,
        };
        if let Some(field) = field {
            return Ok((listed(field, &values, self.words)?, false));
        }
        if let Some(second) = values.get(1) {
            let message = format!(
                "a list needs its field (allowed: {} {})",
                kind.name(),
                kind.allowed()
            );
            return Err(second.refused(message));
        }
        let Some((only, part)) = values
            .pop()
            .and_then(|only| NamePart::new(only.text).map(|part| (only, part)))
        else {
            let here = self.tokens[self.next - 1].range.clone();
            return Err(ExprError::new(here, FilterError::NoName.to_string()));
        };
        Ok((Term::Named(part), !only.is_quoted))
    }
}

fn value_of<'t>(token: &'t Token<'_>) -> Option<Value<'t>> {
    let (text, is_quoted) = match &token.kind {
        Kind::Word(word) => (*word, false),
        Kind::Quoted(text) => (&**text, true),
        _ => return None,
    };
    Some(Value {
        text,
        is_quoted,
        range: &token.range,
    })
}

/// Of which field a value can be that stands alone; `None` of a name.
fn looks_like(value: &Value<'_>, words: &Words) -> Result<Option<Field>, ExprError> {
    let text = value.text;
    if value::states(text).is_ok() {
        return Ok(Some(Field::State));
    }
    let word = text.to_ascii_lowercase();
    if words.findings.contains(&word.as_str()) {
        return Ok(Some(Field::Finding));
    }
    let is_figure =
        |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/' | '-' | '[' | ']');
    let begins_so = text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(':');
    if !begins_so || !text.chars().all(is_figure) {
        return Ok(None);
    }
    if value::ports(text).is_ok() {
        return Ok(Some(Field::Port(Which::Either)));
    }
    if text.parse::<Network>().is_ok() {
        return Ok(Some(Field::Host(Which::Either)));
    }
    // What the port, or the address, lacks is best said by whoever reads one.
    let is_number = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'-' || b == b':');
    let is_port = is_number && text.bytes().filter(|b| *b == b':').count() < 2;
    Err(value.refused(match (is_port, text.parse::<Network>()) {
        (true, _) => value::ports(text).err().unwrap_or_default(),
        (false, Err(error)) => error.to_string(),
        (false, Ok(_)) => String::new(),
    }))
}

/// A field with a list of values.
fn listed(field: Field, values: &[Value<'_>], words: &'static Words) -> Result<Term, ExprError> {
    Ok(match field {
        Field::Port(which) => {
            let mut all = PortSet::default();
            for value in values {
                all.extend(&value::ports(value.text).map_err(|why| value.refused(why))?);
            }
            Term::Port(which, all)
        }
        Field::Host(which) => {
            let hosts = values.iter().map(|value| {
                let network = value.text.parse::<Network>();
                network.map_err(|why| value.refused(why))
            });
            Term::Host(which, hosts.collect::<Result<_, _>>()?)
        }
        Field::State => Term::State(states(values)?),
        Field::Was => Term::Was(states(values)?),
        Field::Pid => {
            let pids = values.iter().map(|value| {
                let pid = parse_pid(value.text);
                pid.map_err(|why| value.refused(why))
            });
            Term::Process(ProcessSet {
                pids: pids.collect::<Result<_, _>>()?,
                names: Vec::new(),
            })
        }
        Field::Finding => Term::Finding(codes(values, "finding", words.findings)?),
        Field::Verdict => Term::Verdict(codes(values, "verdict", words.verdicts)?),
        Field::Conn => {
            let ranges = values.iter().map(|value| {
                let range = value::numbers(value.text);
                range.map_err(|why| value.refused(why))
            });
            Term::Conn(ranges.collect::<Result<_, _>>()?)
        }
        // The others take no list, and never come here.
        Field::Process
        | Field::Age
        | Field::Bytes(_)
        | Field::Severity
        | Field::Open(_)
        | Field::Family(_) => {
            let names = values.iter().map(|value| {
                let name = value.text.parse::<ProcessName>();
                name.map_err(|why| value.refused(why))
            });
            Term::Process(ProcessSet {
                pids: Vec::new(),
                names: names.collect::<Result<_, _>>()?,
            })
        }
    })
}

fn states(values: &[Value<'_>]) -> Result<StateSet, ExprError> {
    let mut all = StateSet::EMPTY;
    for value in values {
        let states = value::states(value.text).map_err(|why| value.refused(why))?;
        all = states.iter().fold(all, StateSet::with);
    }
    Ok(all)
}

fn codes(
    values: &[Value<'_>],
    what: &str,
    among: &'static [&'static str],
) -> Result<WordSet, ExprError> {
    let mut all = WordSet::none(among);
    for value in values {
        let codes = value::codes(value.text, what, among).map_err(|why| value.refused(why))?;
        all.bits |= codes.bits;
    }
    Ok(all)
}
