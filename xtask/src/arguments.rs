//! What follows a verb. Each verb takes what it knows; what is left is a mistake.

/// The words after the verb, less those already taken.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn new(words: Vec<String>) -> Arguments {
        Arguments(words)
    }

    /// Takes a switch without a value.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() != before
    }

    /// Takes every `NAME VALUE` and `NAME=VALUE`, splitting values at commas.
    ///
    /// **Errors:** a switch at the end with no value.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let mut left = Vec::new();
        let mut words = std::mem::take(&mut self.0).into_iter();
        while let Some(word) = words.next() {
            if word == name {
                found.push(words.next().ok_or_else(|| format!("{name} needs a value"))?);
            } else if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                found.push(value.to_owned());
            } else {
                left.push(word);
            }
        }
        self.0 = left;
        let split = found.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect::<Vec<_>>();
        if split.iter().any(String::is_empty) {
            return Err(format!("{name} has an empty value"));
        }
        Ok(split)
    }

    /// Takes a switch that may be given once.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut values = self.values(name)?;
        if values.len() > 1 {
            return Err(format!("{name} is given {} times; once is enough", values.len()));
        }
        Ok(values.pop())
    }

    /// Takes the next word that is not a switch.
    pub(crate) fn word(&mut self) -> Option<String> {
        let index = self.0.iter().position(|word| !word.starts_with('-'))?;
        Some(self.0.remove(index))
    }

    /// **Errors:** names the words nobody took.
    pub(crate) fn finish(self) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(format!("cannot use \"{}\"; `cargo xtask help` lists what there is", self.0.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::new(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn takes_values_in_both_spellings() -> Result<(), String> {
        let mut given = arguments(&["--target", "a", "demo", "--target=b,c", "--load"]);
        assert_eq!(given.values("--target")?, ["a", "b", "c"]);
        assert!(given.switch("--load"));
        assert_eq!(given.word().as_deref(), Some("demo"));
        given.finish()
    }

    #[test]
    fn refuses_what_is_left() {
        assert_eq!(
            arguments(&["--sedes", "4"]).finish(),
            Err(String::from("cannot use \"--sedes 4\"; `cargo xtask help` lists what there is"))
        );
        assert_eq!(arguments(&["--seed"]).value("--seed"), Err(String::from("--seed needs a value")));
        assert!(arguments(&["--seed", "1", "--seed", "2"]).value("--seed").is_err());
        assert!(arguments(&["--target="]).values("--target").is_err());
    }
}
