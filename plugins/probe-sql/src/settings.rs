//! What to ask whom and what to expect, from the plan's `with` table.

use hilum_plugin::tls::Tls;
use hilum_plugin::{Place, Setting, Settings, SettingsError};
use std::fmt;

/// Bytes of a user name, a password or a database name. Servers stop long before; it keeps a login within one packet.
const MAX_NAME: usize = 1024;

/// Bytes of a query. Far below what servers take, far above what a probe should ask.
const MAX_QUERY: usize = 64 * 1024;

/// Entries of `expect`. Each value that comes is compared with all that are still missing.
const MAX_EXPECT: usize = 64;

/// Most rows that `rows` can speak of; the cap on the bytes of a result comes first.
const MAX_ROWS: i64 = 1_000_000;

/// Which protocol to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    MySql,
    PostgreSql,
}

impl Kind {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::MySql => "MySQL",
            Kind::PostgreSql => "PostgreSQL",
        }
    }

    /// Where such a server listens when nobody says otherwise.
    fn port(self) -> u16 {
        match self {
            Kind::MySql => 3306,
            Kind::PostgreSql => 5432,
        }
    }
}

/// One query and its expectations. Has no `Debug`, so that the password cannot be printed by mistake.
pub struct Target {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) database: Option<String>,
    pub(crate) query: String,
    /// Values that must come.
    pub(crate) expect: Vec<String>,
    pub(crate) min_rows: Option<u64>,
    pub(crate) max_rows: Option<u64>,
}

impl fmt::Debug for Target {
    /// Not what it says: there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let kind = read_kind(&settings.required("kind", "kind = \"mysql\" or kind = \"postgresql\"")?)?;
        let place = Place::read(settings, Some(kind.port()))?;
        let tls = settings.optional("tls").map(Tls::read).transpose()?;
        let username = read_text(&settings.required("username", "username = \"probe\"")?, 1, MAX_NAME)?;
        let password = match settings.optional("password") {
            None => String::new(),
            Some(password) => {
                let text = password.secret()?;
                check_text(&password, text, 0, MAX_NAME)?;
                text.to_owned()
            }
        };
        let database = settings.optional("database").map(|name| read_text(&name, 1, MAX_NAME)).transpose()?;
        let query = match settings.optional("query") {
            None => "SELECT 1".to_owned(),
            Some(query) => read_query(&query)?,
        };
        let expect = match settings.optional("expect") {
            None => Vec::new(),
            Some(list) => read_expect(list)?,
        };
        let (min_rows, max_rows) = settings.optional("rows").map(read_rows).transpose()?.unwrap_or_default();
        if max_rows == Some(0) && !expect.is_empty() {
            return Err(SettingsError::new(
                "expect",
                "rows.max = 0 allows no row to hold it; leave one of the two out",
            ));
        }
        Ok(Target { kind, place, tls, username, password, database, query, expect, min_rows, max_rows })
    }

    /// Whom it asks, for messages.
    pub(crate) fn server(&self) -> String {
        format!("{} at {}", self.kind.name(), self.place)
    }
}

fn read_kind(setting: &Setting) -> Result<Kind, SettingsError> {
    match setting.string()? {
        "mysql" => Ok(Kind::MySql),
        "postgresql" => Ok(Kind::PostgreSql),
        other => {
            Err(setting
                .error(format_args!("{other:?} is not known; write \"mysql\" (also for MariaDB) or \"postgresql\"")))
        }
    }
}

/// A NUL ends a text in both protocols: what follows one would be read as something else.
fn check_text(setting: &Setting, text: &str, min: usize, max: usize) -> Result<(), SettingsError> {
    if text.len() < min {
        return Err(setting.error("cannot be empty"));
    }
    if text.len() > max {
        return Err(setting.error(format_args!("has {} bytes, there can be {max}", text.len())));
    }
    if text.contains('\0') {
        return Err(setting.error("cannot hold a NUL character"));
    }
    Ok(())
}

fn read_text(setting: &Setting, min: usize, max: usize) -> Result<String, SettingsError> {
    let text = setting.string()?;
    check_text(setting, text, min, max)?;
    Ok(text.to_owned())
}

fn read_query(setting: &Setting) -> Result<String, SettingsError> {
    let query = read_text(setting, 0, MAX_QUERY)?;
    if query.trim().is_empty() {
        return Err(setting.error("an empty query asks nothing; write \"SELECT 1\" or leave it out"));
    }
    Ok(query)
}

fn read_expect(list: Setting) -> Result<Vec<String>, SettingsError> {
    let expect: Vec<String> =
        list.items().iter().map(|value| value.string().map(str::to_owned)).collect::<Result<_, _>>()?;
    if expect.is_empty() {
        return Err(SettingsError::new("expect", "an empty list expects nothing; write [\"a value\"] or leave it out"));
    }
    if expect.len() > MAX_EXPECT {
        return Err(SettingsError::new(
            "expect",
            format_args!("has {} values, there can be {MAX_EXPECT}; ask for the rest in a second probe", expect.len()),
        ));
    }
    Ok(expect)
}

/// Least and most rows.
fn read_rows(setting: Setting) -> Result<(Option<u64>, Option<u64>), SettingsError> {
    const EXAMPLE: &str = "write rows = { min = 1 }, rows = { max = 10 } or both";
    let mut table = setting.table()?;
    let number =
        |setting: Setting| setting.integer(0, MAX_ROWS).map(|number| u64::try_from(number).unwrap_or_default());
    let min = table.optional("min").map(number).transpose()?;
    let max = table.optional("max").map(number).transpose()?;
    table.finish()?;
    match (min, max) {
        (None, None) => Err(SettingsError::new("rows", format_args!("an empty table expects nothing; {EXAMPLE}"))),
        (Some(min), Some(max)) if min > max => {
            Err(SettingsError::new("rows", format_args!("no number is at least {min} and at most {max}; {EXAMPLE}")))
        }
        limits => Ok(limits),
    }
}
