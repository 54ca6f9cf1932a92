//! From a text to a query, by recursive descent: a function for each rule of the grammar.

use serde_json::Value;

use super::evaluate::number;
use super::expression::{Expression, Operator, Path};
use super::functions::Function;
use super::lexer::{Kind, Token, tokens};
use super::{Aggregate, Collection, Item, Query, QueryError, Select, Target, What};

/// `SELECT [TOP n] … FROM … [WHERE …] [GROUP BY …]`.
pub(crate) fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser::of(text)?;
    parser.keyword("SELECT")?;
    let top = parser.top()?;
    let select_at = parser.peek().at;
    let (mut select, places) = parser.select()?;
    parser.keyword("FROM")?;
    let from = parser.collection()?;
    parser.from = from;
    if let Select::Items(items) = &mut select {
        items.iter_mut().for_each(|item| item.unprefix(from));
    }
    let condition = match parser.takes_keyword("WHERE") {
        true => Some(parser.expression()?),
        false => None,
    };
    let group_at = parser.peek().at;
    let group_by = parser.group_by()?;
    parser.end()?;
    let query = Query {
        select,
        top,
        from,
        condition,
        group_by,
    };
    check(&query, &places, select_at, group_at)?;
    Ok(query)
}

/// What scheduled jobs and configurations are for: nothing or `*` for all devices, a condition of devices, or
/// `FROM devices.modules WHERE …`.
pub(crate) fn parse_condition(text: &str) -> Result<Target, QueryError> {
    let mut parser = Parser::of(text)?;
    let is_whole = parser.takes_keyword("FROM");
    if is_whole {
        parser.from = parser.collection()?;
    }
    let from = parser.from;
    let is_all = !is_whole && parser.takes_sign("*") || parser.peek().kind == Kind::End;
    let condition = if is_all {
        None
    } else {
        if is_whole {
            parser.keyword("WHERE")?;
        }
        Some(parser.expression()?)
    };
    parser.end()?;
    Ok(Target { from, condition })
}

/// What the grammar allows and the language does not.
fn check(query: &Query, places: &[usize], select_at: usize, group_at: usize) -> Result<(), QueryError> {
    let error = |what: &str, at| {
        Err(QueryError {
            what: what.to_owned(),
            at,
        })
    };
    let aggregates = query.aggregates();
    match &query.select {
        Select::All if !query.group_by.is_empty() => {
            return error("with GROUP BY, * can't be selected", select_at);
        }
        Select::Items(items) => {
            if query.from == Collection::Jobs {
                return error("of jobs only * can be selected", select_at);
            }
            for (item, at) in items.iter().zip(places) {
                if let What::Path(path) = &item.what
                    && aggregates
                    && !query.group_by.contains(path)
                {
                    return error("beside aggregates only what GROUP BY names can be selected", *at);
                }
            }
        }
        Select::All => {}
    }
    if query.from == Collection::Jobs && !query.group_by.is_empty() {
        return error("jobs can't be grouped", group_at);
    }
    Ok(())
}

impl Item {
    fn unprefix(&mut self, from: Collection) {
        let path = match &mut self.what {
            What::Path(path) | What::Aggregate(_, Some(path)) => path,
            What::Aggregate(_, None) => return,
        };
        unprefix(path, from);
    }
}

/// Leaves out the collection's own name in front.
fn unprefix(path: &mut Path, from: Collection) {
    let named = Collection::NAMES
        .iter()
        .find(|(collection, _)| *collection == from);
    let names = named.map_or(&[][..], |(_, names)| names);
    let same = names
        .iter()
        .zip(&path.0)
        .all(|(name, own)| own.eq_ignore_ascii_case(name));
    if same && path.0.len() > names.len() {
        path.0.drain(..names.len());
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    from: Collection,
}

impl Parser {
    fn of(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_LENGTH {
            return Err(QueryError {
                what: format!("a query has at most {MAX_LENGTH} bytes"),
                at: 1,
            });
        }
        Ok(Self {
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
            from: Collection::Devices,
        })
    }

    fn top(&mut self) -> Result<Option<u64>, QueryError> {
        if !self.takes_keyword("TOP") {
            return Ok(None);
        }
        let token = self.peek().clone();
        match token.kind {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a whole number that fits"
            )]
            Kind::Number(count) if count >= 1.0 && count.fract() == 0.0 && count < 1e15 => {
                self.next += 1;
                Ok(Some(count as u64))
            }
            _ => Err(self.expected("a number of rows")),
        }
    }

    /// With the place of each item.
    fn select(&mut self) -> Result<(Select, Vec<usize>), QueryError> {
        if self.takes_sign("*") {
            return Ok((Select::All, Vec::new()));
        }
        let (mut items, mut places): (Vec<Item>, Vec<usize>) = (Vec::new(), Vec::new());
        loop {
            let at = self.peek().at;
            let what = self.selected()?;
            let alias_at = self.peek().at;
            let alias = if self.takes_keyword("AS") {
                self.name()?
            } else {
                match &what {
                    What::Path(path) => path.last().to_owned(),
                    What::Aggregate(..) => format!("${}", items.len() + 1),
                }
            };
            if items.iter().any(|item| item.alias == alias) {
                return Err(QueryError {
                    what: format!("{alias:?} is selected twice"),
                    at: alias_at,
                });
            }
            items.push(Item { what, alias });
            places.push(at);
            if !self.takes_sign(",") {
                return Ok((Select::Items(items), places));
            }
        }
    }

    fn selected(&mut self) -> Result<What, QueryError> {
        let aggregate = match self.called() {
            Some(name) => AGGREGATES
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known)),
            None => None,
        };
        let Some((_, aggregate)) = aggregate else {
            return self.path().map(What::Path);
        };
        self.next += 2;
        let of = match aggregate {
            Aggregate::Count => {
                self.takes_sign("*");
                None
            }
            _ => Some(self.path()?),
        };
        self.sign(")")?;
        Ok(What::Aggregate(*aggregate, of))
    }

    fn collection(&mut self) -> Result<Collection, QueryError> {
        for (collection, names) in Collection::NAMES {
            let words = self.tokens[self.next..]
                .iter()
                .step_by(2)
                .map(|token| &token.kind);
            let dots = self.tokens[self.next..].iter().skip(1).step_by(2);
            let is_it = names.len()
                == words
                    .zip(names)
                    .take_while(|(kind, name)| is_word(kind, name))
                    .count()
                && dots
                    .take(names.len() - 1)
                    .all(|token| token.kind == Kind::Sign("."));
            if is_it {
                self.next += 2 * names.len() - 1;
                return Ok(collection);
            }
        }
        Err(self.expected("devices, devices.modules or devices.jobs"))
    }

    fn group_by(&mut self) -> Result<Vec<Path>, QueryError> {
        let mut paths = Vec::new();
        if !self.takes_keyword("GROUP") {
            return Ok(paths);
        }
        self.keyword("BY")?;
        loop {
            let mut path = self.path()?;
            unprefix(&mut path, self.from);
            paths.push(path);
            if !self.takes_sign(",") {
                return Ok(paths);
            }
        }
    }

    fn expression(&mut self) -> Result<Expression, QueryError> {
        self.deeper(|parser| {
            let mut any = vec![parser.all()?];
            while parser.takes_keyword("OR") {
                any.push(parser.all()?);
            }
            Ok(one_or(any, Expression::Any))
        })
    }

    fn all(&mut self) -> Result<Expression, QueryError> {
        let mut all = vec![self.negation()?];
        while self.takes_keyword("AND") {
            all.push(self.negation()?);
        }
        Ok(one_or(all, Expression::All))
    }

    fn negation(&mut self) -> Result<Expression, QueryError> {
        if self.takes_keyword("NOT") {
            return self.deeper(|parser| Ok(Expression::Not(Box::new(parser.negation()?))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, QueryError> {
        let left = self.sum()?;
        let sign = COMPARISONS
            .iter()
            .find(|(sign, _)| self.peek().kind == Kind::Sign(sign));
        let operator = match sign {
            Some((_, operator)) => {
                self.next += 1;
                *operator
            }
            None if self.takes_keyword("IN") => Operator::In,
            None if self.takes_keyword("NIN") => Operator::NotIn,
            None => return Ok(left),
        };
        let right = self.sum()?;
        Ok(Expression::Binary(operator, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self) -> Result<Expression, QueryError> {
        self.chain(&[("+", Operator::Plus), ("-", Operator::Minus)], Self::product)
    }

    fn product(&mut self) -> Result<Expression, QueryError> {
        let operators = [
            ("*", Operator::Times),
            ("/", Operator::Divided),
            ("%", Operator::Modulo),
        ];
        self.chain(&operators, Self::signed)
    }

    /// Operands with operators between them, which bind to the left.
    fn chain(
        &mut self,
        operators: &[(&'static str, Operator)],
        operand: impl Fn(&mut Self) -> Result<Expression, QueryError>,
    ) -> Result<Expression, QueryError> {
        let mut left = operand(self)?;
        for _ in 0..MAX_CHAIN {
            let sign = operators.iter().find(|(sign, _)| self.takes_sign(sign));
            let Some((_, operator)) = sign else {
                return Ok(left);
            };
            let right = operand(self)?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(right));
        }
        Err(self.error("this is too long a calculation"))
    }

    fn signed(&mut self) -> Result<Expression, QueryError> {
        if self.takes_sign("-") {
            return self.deeper(|parser| Ok(Expression::Negative(Box::new(parser.signed()?))));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expression, QueryError> {
        if self.takes_sign("(") {
            let inner = self.expression()?;
            self.sign(")")?;
            return Ok(inner);
        }
        if self.takes_sign("[") {
            return self.listed("]").map(Expression::List);
        }
        if let Some(name) = self.called() {
            return self.call(&name);
        }
        let token = self.peek().clone();
        let constant = match &token.kind {
            Kind::Text(text) => Some(Value::from(text.as_str())),
            Kind::Number(value) => number(*value).map(std::borrow::Cow::into_owned),
            Kind::Word(word) if word.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            Kind::Word(word) if word.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            Kind::Word(word) if word.eq_ignore_ascii_case("null") => Some(Value::Null),
            Kind::Word(word) if word.eq_ignore_ascii_case("undefined") => {
                self.next += 1;
                return Ok(Expression::Undefined);
            }
            _ => None,
        };
        if let Some(constant) = constant {
            self.next += 1;
            return Ok(Expression::Constant(constant));
        }
        let mut path = self.path()?;
        unprefix(&mut path, self.from);
        Ok(Expression::Path(path))
    }

    fn call(&mut self, name: &str) -> Result<Expression, QueryError> {
        let at = self.peek().at;
        let error = |what| Err(QueryError { what, at });
        let known = Function::ALL
            .iter()
            .find(|(known, ..)| name.eq_ignore_ascii_case(known));
        let Some((_, function, least, most)) = known else {
            return error(format!("there is no function {name}"));
        };
        self.next += 2;
        let arguments = self.listed(")")?;
        if !(*least..=*most).contains(&arguments.len()) {
            let count = arguments.len();
            return error(format!("{name} can't have {count} arguments"));
        }
        Ok(Expression::Call(*function, arguments))
    }

    /// Expressions with commas between them, up to a sign.
    fn listed(&mut self, end: &'static str) -> Result<Vec<Expression>, QueryError> {
        let mut listed = Vec::new();
        if self.takes_sign(end) {
            return Ok(listed);
        }
        loop {
            listed.push(self.expression()?);
            if !self.takes_sign(",") {
                self.sign(end)?;
                return Ok(listed);
            }
        }
    }

    fn path(&mut self) -> Result<Path, QueryError> {
        let first = match &self.peek().kind {
            Kind::Word(word) if !is_keyword(word) => word.clone(),
            Kind::Name(name) => name.clone(),
            _ => return Err(self.expected("a property, a value or a function")),
        };
        self.next += 1;
        let mut names = vec![first];
        while self.takes_sign(".") {
            names.push(self.name()?);
        }
        Ok(Path(names))
    }

    /// Where it can't be anything else, a keyword is a name too.
    fn name(&mut self) -> Result<String, QueryError> {
        match &self.peek().kind {
            Kind::Word(name) | Kind::Name(name) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// The name of what is called here, if something is.
    fn called(&self) -> Option<String> {
        let behind = self.tokens.get(self.next + 1)?;
        match &self.peek().kind {
            Kind::Word(word) if behind.kind == Kind::Sign("(") && !is_keyword(word) => Some(word.clone()),
            _ => None,
        }
    }

    fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("this nests too deep"));
        }
        self.depth += 1;
        let parsed = rule(self);
        self.depth -= 1;
        parsed
    }

    fn keyword(&mut self, word: &str) -> Result<(), QueryError> {
        match self.takes_keyword(word) {
            true => Ok(()),
            false => Err(self.expected(word)),
        }
    }

    fn takes_keyword(&mut self, word: &str) -> bool {
        let is_it = is_word(&self.peek().kind, word);
        self.next += usize::from(is_it);
        is_it
    }

    fn sign(&mut self, sign: &str) -> Result<(), QueryError> {
        match self.takes_sign(sign) {
            true => Ok(()),
            false => Err(self.expected(&format!("'{sign}'"))),
        }
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_it = matches!(&self.peek().kind, Kind::Sign(found) if *found == sign);
        self.next += usize::from(is_it);
        is_it
    }

    fn end(&self) -> Result<(), QueryError> {
        match self.peek().kind {
            Kind::End => Ok(()),
            _ => Err(self.expected("the end")),
        }
    }

    fn peek(&self) -> &Token {
        // The last one is the end, and nobody goes past it.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn expected(&self, what: &str) -> QueryError {
        let found = match &self.peek().kind {
            Kind::Word(word) => word.clone(),
            Kind::Name(name) => format!("[[{name}]]"),
            Kind::Text(_) => "a text".to_owned(),
            Kind::Number(number) => number.to_string(),
            Kind::Sign(sign) => format!("'{sign}'"),
            Kind::End => "the end".to_owned(),
        };
        self.error(&format!("expected {what}, found {found}"))
    }

    fn error(&self, what: &str) -> QueryError {
        QueryError {
            what: what.to_owned(),
            at: self.peek().at,
        }
    }
}

fn one_or(mut some: Vec<Expression>, many: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match some.len() {
        1 => some.remove(0),
        _ => many(some),
    }
}

fn is_word(kind: &Kind, word: &str) -> bool {
    matches!(kind, Kind::Word(found) if found.eq_ignore_ascii_case(word))
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

const KEYWORDS: [&str; 16] = [
    "SELECT",
    "TOP",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "NIN",
    "TRUE",
    "FALSE",
    "NULL",
    "UNDEFINED",
];
const AGGREGATES: [(&str, Aggregate); 5] = [
    ("COUNT", Aggregate::Count),
    ("AVG", Aggregate::Average),
    ("SUM", Aggregate::Sum),
    ("MIN", Aggregate::Least),
    ("MAX", Aggregate::Greatest),
];
const COMPARISONS: [(&str, Operator); 7] = [
    ("=", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<>", Operator::NotEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
];
/// The longest query, in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// How deep parentheses, calls, lists and negations nest.
const MAX_DEPTH: usize = 48;
/// The most operators of one calculation.
const MAX_CHAIN: usize = 64;
