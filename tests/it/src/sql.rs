//! SQL92 expressions and properties made up at random, the same for the same seed.

/// Makes pairs.
pub struct Maker {
    state: u64,
}

const NAMES: [&str; 10] = ["a", "b", "c", "TAGS", "_x", "$y", "price", "Name", "absent", "nulls"];
const VALUES: [&str; 56] = [
    "1",
    "2",
    "5",
    "10",
    "-1",
    "0",
    "+5",
    "007",
    "1.0",
    "1.5",
    "-0.0",
    "0.0",
    "5.",
    ".5",
    "1e1",
    "1E-3",
    "5f",
    "5d",
    "5L",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "0x1p3",
    "0x1.8p-1d",
    "0x10",
    "1_0",
    " 5",
    "5 ",
    "\u{1}5",
    "true",
    "TRUE",
    "True",
    "false",
    "null",
    "abc",
    "ab",
    "bc",
    "ABC",
    "a'b",
    "''",
    "x y",
    "Größe",
    "日本",
    "𝄞",
    "\u{661}\u{662}",
    "1.7976931348623157e308",
    "4.9e-324",
];
const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "2",
    "5",
    "10",
    "10l",
    "10L",
    "007",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999L",
    "1.0",
    "1.5",
    ".5",
    "5.",
    "1e1",
    "5E10",
    "1e-3",
    "0.0",
    "1e999",
    "4.9e-324",
    "1e-400",
    "12.50",
    "1.7976931348623157E308",
    "100000000.5",
    "0.0001",
    "5e",
    "1.e2",
];
const SPACES: [&str; 8] = [" ", " ", " ", "  ", "\t", "\n", "/* c */", " -- c\n"];
const STRAY: [&str; 22] = [
    "@", "'", "(", ")", ",", "=", "<>", "NOT", "AND", "OR", "IS", "NULL", "BETWEEN", "IN", "5", "a", "--", "/*", "+",
    "-", "!", "ü",
];

impl Maker {
    /// From a seed.
    pub fn new(seed: u64) -> Maker {
        Maker { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03 }
    }

    /// Less than `below`.
    pub fn below(&mut self, below: usize) -> usize {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let below = u64::try_from(below.max(1)).unwrap_or(1);
        usize::try_from((z ^ (z >> 31)) % below).unwrap_or(0)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, in_hundred: usize) -> bool {
        self.below(100) < in_hundred
    }

    /// A properties string as it lies in a record.
    pub fn properties(&mut self) -> String {
        let count = self.below(6);
        let mut text = String::new();
        for _ in 0..count {
            let (name, value) = (self.one(&NAMES[..8]), self.one(&VALUES));
            text.push_str(&format!("{name}\u{1}{value}\u{2}"));
        }
        if self.chance(10) {
            text.pop();
        }
        text
    }

    /// An expression; one in six is broken somewhere.
    pub fn expression(&mut self) -> String {
        let mut text = self.logic(3);
        if self.chance(17) {
            let chars: Vec<char> = text.chars().collect();
            let (at, stray) = (self.below(chars.len() + 1), self.one(&STRAY));
            let gone = self.below(3) * self.below(2);
            let rest = chars.iter().skip(at + gone);
            text = chars.iter().take(at).chain(&stray.chars().collect::<Vec<_>>()).chain(rest).collect();
        }
        text
    }

    fn logic(&mut self, depth: usize) -> String {
        let terms = 1 + self.below(3) * self.below(2);
        let mut text = self.term(depth);
        for _ in 1..terms {
            let sign = self.word(&["AND", "OR"]);
            text = format!("{text}{}{sign}{}{}", self.space(), self.space(), self.term(depth));
        }
        text
    }

    fn term(&mut self, depth: usize) -> String {
        let space = self.space();
        match self.below(20) {
            0 | 1 if depth > 0 => format!("({}{space})", self.logic(depth - 1)),
            2 | 3 if depth > 0 => format!("{}{space}{}", self.word(&["NOT"]), self.term(depth - 1)),
            4 if depth > 0 => format!("{} = {}", self.term(depth - 1), self.term(depth - 1)),
            5 if depth > 0 => format!("({}) {} {}", self.logic(depth - 1), self.compare(), self.operand(1)),
            6 => self.operand(2),
            7 => self.word(&["TRUE", "FALSE", "NULL"]),
            8 | 9 => format!("{}{space}{} {}", self.operand(2), self.word(&["IS"]), self.word(&["NULL", "NOT NULL"])),
            10 | 11 => {
                let count = 1 + self.below(7);
                let texts: Vec<String> = (0..count).map(|_| self.text()).collect();
                let name = if self.chance(90) { self.one(&NAMES).to_owned() } else { self.operand(1) };
                format!(
                    "{name}{space}{}{space}({})",
                    self.word(&["IN", "NOT IN"]),
                    texts.join(if self.chance(50) { "," } else { " , " })
                )
            }
            12 | 13 => {
                let word = self.word(&[
                    "CONTAINS",
                    "STARTSWITH",
                    "ENDSWITH",
                    "NOT CONTAINS",
                    "NOT STARTSWITH",
                    "NOT ENDSWITH",
                ]);
                format!("{}{space}{word} {}", self.operand(2), self.text())
            }
            14 | 15 => format!(
                "{}{space}{} {}{space}{} {}",
                self.operand(2),
                self.word(&["BETWEEN", "NOT BETWEEN"]),
                self.bound(),
                self.word(&["AND"]),
                self.bound()
            ),
            _ => format!("{}{space}{}{space}{}", self.operand(2), self.compare(), self.operand(2)),
        }
    }

    fn bound(&mut self) -> String {
        if self.chance(80) { self.one(&NUMBERS[..9]).to_owned() } else { self.operand(1) }
    }

    fn operand(&mut self, depth: usize) -> String {
        match self.below(20) {
            0..=9 => self.one(&NAMES).to_owned(),
            10..=13 => self.one(&NUMBERS).to_owned(),
            14 | 15 => self.text(),
            16 => format!("- {}", if depth > 0 { self.operand(depth - 1) } else { "a".to_owned() }),
            17 => format!("+{}", if depth > 0 { self.operand(depth - 1) } else { "1".to_owned() }),
            18 => format!("({})", if depth > 0 { self.operand(depth - 1) } else { "b".to_owned() }),
            _ => self.word(&["TRUE", "FALSE", "NULL"]),
        }
    }

    fn compare(&mut self) -> &'static str {
        ["=", "=", "<>", ">", ">=", "<", "<="][self.below(7)]
    }

    fn text(&mut self) -> String {
        let value = if self.chance(8) { "" } else { self.one(&VALUES) };
        format!("'{}'", value.replace('\'', "''"))
    }

    fn space(&mut self) -> &'static str {
        SPACES[self.below(SPACES.len())]
    }

    /// One of the words, in one or the other case.
    fn word(&mut self, of: &[&str]) -> String {
        let word = self.one(of);
        match self.below(4) {
            0 => word.to_lowercase(),
            1 => word.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c } else { c.to_ascii_lowercase() }).collect(),
            _ => word.to_owned(),
        }
    }
}
