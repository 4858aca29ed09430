//! What an attempt is given: words and numbers by name. One that is missing is the test's mistake, and told as such, so that no attempt fails for
//! having attempted nothing.

use hilum_plugin::{Setting, SettingsError};

/// The table `with`.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<(String, Setting)>);

impl Given {
    pub(crate) fn read(table: Setting) -> Result<Given, SettingsError> {
        table.entries().map(Given)
    }

    fn get(&self, key: &str) -> Result<&Setting, SettingsError> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, setting)| setting).ok_or_else(|| SettingsError::new(key, "missing"))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, SettingsError> {
        self.get(key)?.string()
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Result<u32, SettingsError> {
        let number = self.get(key)?.integer(0, i64::from(u32::MAX))?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// The same, as a length.
    pub(crate) fn size(&self, key: &str) -> Result<usize, SettingsError> {
        Ok(usize::try_from(self.number(key)?).unwrap_or(usize::MAX))
    }

    /// A port.
    pub(crate) fn port(&self, key: &str) -> Result<u16, SettingsError> {
        let number = self.get(key)?.integer(0, i64::from(u16::MAX))?;
        Ok(u16::try_from(number).unwrap_or(u16::MAX))
    }
}
