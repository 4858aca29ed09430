//! Rows of a result against what was expected of them. Nothing of a row is kept but the few values that a message shows.

use hilum_plugin::Outcome;

use crate::settings::Target;
use crate::wire::shown;

/// Bytes of values that a message shows, all together.
const SHOWN: usize = 64;

/// Rows as they come.
pub(crate) struct Rows<'t> {
    target: &'t Target,
    count: u64,
    /// Entries of `expect` that did not come yet.
    missing: Vec<&'t str>,
    /// The first values, for people.
    seen: String,
    cut: bool,
}

impl<'t> Rows<'t> {
    pub(crate) fn new(target: &'t Target) -> Rows<'t> {
        let missing = target.expect.iter().map(String::as_str).collect();
        Rows { target, count: 0, missing, seen: String::new(), cut: false }
    }

    /// One value of a row; `None` is NULL, which is no text and so equals none, not even the empty one.
    pub(crate) fn value(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value {
            self.missing.retain(|wanted| wanted.as_bytes() != text);
        }
        if self.seen.len() < SHOWN {
            if !self.seen.is_empty() {
                self.seen.push_str(", ");
            }
            self.seen.push_str(&value.map_or_else(|| "NULL".to_owned(), shown));
        } else {
            self.cut = true;
        }
    }

    /// Ends a row.
    ///
    /// **Errors:** there are more of them than `rows.max`; what follows need not be read.
    pub(crate) fn end_row(&mut self) -> Result<(), Outcome> {
        self.count = self.count.saturating_add(1);
        match self.target.max_rows {
            Some(max) if self.count > max => {
                Err(self.fail(&format!("returned more rows than rows.max = {max} allows")))
            }
            _ => Ok(()),
        }
    }

    /// The answer once the result is complete.
    pub(crate) fn verdict(self) -> Outcome {
        if let Some(min) = self.target.min_rows.filter(|min| self.count < *min) {
            return self.fail(&format!("returned fewer rows than rows.min = {min} asks for"));
        }
        match self.missing.first() {
            None => Outcome::Pass,
            Some(wanted) => self.fail(&format!("did not return {}", shown(wanted.as_bytes()))),
        }
    }

    fn fail(&self, story: &str) -> Outcome {
        let found = match self.count {
            0 => "there was no row".to_owned(),
            1 => format!("one row came: {}", self.seen),
            count => format!("{count} rows came: {}", self.seen),
        };
        let more = if self.cut { ", …" } else { "" };
        let query = shown(self.target.query.as_bytes());
        Outcome::Fail(format!("{}: {query} {story}; {found}{more}", self.target.server()))
    }
}
