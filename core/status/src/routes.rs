//! From request targets to routes. Pure; knows which addresses exist, not what is said there.

use std::borrow::Cow;
use std::time::Duration;

/// How long `?wait` holds when it does not say. Load balancers and `curl` scripts give up after 30 to 60 seconds.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Longest `?wait=D`. A day outlasts every deployment; beyond it a typing mistake is likelier than a wish.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// An address that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// kapo's array, or the page for browsers.
    Root,
    /// The typed document, of everything or of one service.
    Status(Scope),
    /// A yes-or-no question.
    Check {
        /// Which.
        check: Check,
        /// About what.
        scope: Scope,
        /// How long to hold the answer until it is yes.
        wait: Option<Duration>,
    },
    /// Metrics of everything or of one service.
    Metrics(Scope),
    /// expvar.
    Vars,
}

/// What a question is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// The whole container.
    All,
    /// The service of this name.
    Service(String),
}

/// The questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// Does PID 1 answer, and has nothing failed for good?
    Liveness,
    /// Does all take work?
    Readiness,
    /// Has all started once?
    Startup,
}

/// Why there is no route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stray {
    /// 404.
    Unknown,
    /// 400, and why.
    Malformed(String),
}

impl Route {
    /// The route of a request target in origin or absolute form (RFC 9112, 3.2).
    pub(crate) fn parse(target: &str) -> Result<Route, Stray> {
        if target.contains('#') {
            return Err(Stray::Malformed("fragment in the request target; leave out what follows \"#\"".into()));
        }
        let (path, query) = match target.strip_prefix('/') {
            Some(_) => target.split_once('?').unwrap_or((target, "")),
            None => split_absolute(target)?,
        };
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let first = decode(segments.next().unwrap_or_default())?;
        let second = segments.next().map(decode).transpose()?;
        let third = segments.next().map(decode).transpose()?;
        if segments.next().is_some() {
            return Err(Stray::Unknown);
        }
        match (first.as_ref(), second, third.as_deref()) {
            ("service", Some(name), leaf) if !name.is_empty() => match leaf {
                None | Some("") => Ok(Route::Status(Scope::Service(name.into_owned()))),
                Some(leaf) => Route::leaf(leaf, Scope::Service(name.into_owned()), query),
            },
            ("debug", Some(name), None) if name == "vars" => Ok(Route::Vars),
            ("", None, None) => Ok(Route::Root),
            ("status", None, None) => Ok(Route::Status(Scope::All)),
            (leaf, None, None) => Route::leaf(leaf, Scope::All, query),
            _ => Err(Stray::Unknown),
        }
    }

    fn leaf(name: &str, scope: Scope, query: &str) -> Result<Route, Stray> {
        let check = match name {
            "liveness" => Check::Liveness,
            "readiness" => Check::Readiness,
            "startup" => Check::Startup,
            "metrics" => return Ok(Route::Metrics(scope)),
            _ => return Err(Stray::Unknown),
        };
        Ok(Route::Check { check, scope, wait: wait(query)? })
    }
}

/// Path and query of `http://host/path?query`.
fn split_absolute(target: &str) -> Result<(&str, &str), Stray> {
    let (scheme, rest) = target.split_once("://").unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or_default();
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) || authority.is_empty() {
        return Err(Stray::Malformed("request target is neither a path nor an http URL".into()));
    }
    Ok(rest.split_once('?').unwrap_or((rest, "")))
}

/// The `wait` of a query.
fn wait(query: &str) -> Result<Option<Duration>, Stray> {
    for pair in query.split('&') {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (pair, None),
        };
        if decode(key)? == "wait" {
            let Some(value) = value else { return Ok(Some(DEFAULT_WAIT)) };
            let value = decode(value)?;
            let refuse = |hint: &str| Stray::Malformed(format!("wait: {value:?} {hint}"));
            let length = duration(&value).ok_or_else(|| refuse("is not a duration; write 5s, 500ms or 1m30s"))?;
            return if length > MAX_WAIT { Err(refuse("is too long; the most is 24h")) } else { Ok(Some(length)) };
        }
    }
    Ok(None)
}

/// Whole numbers, each with a unit of `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|byte: char| !byte.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.find(|byte: char| byte.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))?;
        rest = tail;
    }
    Some(sum)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<Cow<'_, str>, Stray> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let refuse = || Stray::Malformed(format!("{text:?} is not valid percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                rest = tail;
                hexadecimal(*high).zip(hexadecimal(*low)).map(|(high, low)| high << 4 | low).ok_or_else(refuse)?
            }
            (b'%', _) => return Err(refuse()),
            _ => *first,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| refuse())
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{Check, DEFAULT_WAIT, Route, Scope, Stray, duration};
    use std::time::Duration;

    fn check(check: Check, wait: Option<Duration>) -> Result<Route, Stray> {
        Ok(Route::Check { check, scope: Scope::All, wait })
    }

    #[test]
    fn every_address_has_its_route() {
        let web = || Scope::Service("web".into());
        assert_eq!(Route::parse("/"), Ok(Route::Root));
        assert_eq!(Route::parse("/?x=y"), Ok(Route::Root));
        assert_eq!(Route::parse("/status"), Ok(Route::Status(Scope::All)));
        assert_eq!(Route::parse("/%73tatus"), Ok(Route::Status(Scope::All)));
        assert_eq!(Route::parse("/liveness"), check(Check::Liveness, None));
        assert_eq!(Route::parse("/readiness"), check(Check::Readiness, None));
        assert_eq!(Route::parse("/startup"), check(Check::Startup, None));
        assert_eq!(Route::parse("/metrics"), Ok(Route::Metrics(Scope::All)));
        assert_eq!(Route::parse("/debug/vars"), Ok(Route::Vars));
        assert_eq!(Route::parse("/service/web"), Ok(Route::Status(web())));
        assert_eq!(Route::parse("/service/web/"), Ok(Route::Status(web())));
        assert_eq!(Route::parse("/service/web/metrics"), Ok(Route::Metrics(web())));
        let ready = Route::Check { check: Check::Readiness, scope: web(), wait: Some(Duration::from_secs(5)) };
        assert_eq!(Route::parse("/service/web/readiness?wait=5s"), Ok(ready));
        assert_eq!(Route::parse("/service/a%2Fb%20%C3%A4"), Ok(Route::Status(Scope::Service("a/b \u{e4}".into()))));
    }

    #[test]
    fn absolute_targets_are_read_too() {
        assert_eq!(Route::parse("http://host"), Ok(Route::Root));
        assert_eq!(Route::parse("HTTP://host:1?x"), Ok(Route::Root));
        assert_eq!(Route::parse("https://host/liveness?wait=1s"), check(Check::Liveness, Some(Duration::from_secs(1))));
        for bad in ["*", "host:80", "ftp://host/", "http://", "http:///status", "status"] {
            assert!(matches!(Route::parse(bad), Err(Stray::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn what_does_not_exist_is_unknown() {
        let strays = [
            "//",
            "/x",
            "/a/../",
            "/status/",
            "/liveness/x",
            "/debug",
            "/debug/vars/",
            "/debug/pprof",
            "/service",
            "/service/",
            "/service//readiness",
            "/service/web/x",
            "/service/web/readiness/x",
            "/service/web/debug/vars",
            "/%2fstatus",
        ];
        for stray in strays {
            assert_eq!(Route::parse(stray), Err(Stray::Unknown), "{stray}");
        }
    }

    #[test]
    fn broken_encoding_is_malformed() {
        for bad in ["/%", "/%2", "/%zz", "/service/%ff", "/liveness?%", "/#a"] {
            assert!(matches!(Route::parse(bad), Err(Stray::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn waits_are_durations_with_units() {
        let wait = |query: &str| Route::parse(&format!("/readiness?{query}"));
        assert_eq!(wait("a=b&wait"), check(Check::Readiness, Some(DEFAULT_WAIT)));
        assert_eq!(wait("w%61it=1m30s"), check(Check::Readiness, Some(Duration::from_secs(90))));
        assert_eq!(wait("wait=0s"), check(Check::Readiness, Some(Duration::ZERO)));
        assert_eq!(wait("waits=1"), check(Check::Readiness, None));
        for bad in
            ["wait=", "wait=5", "wait=s", "wait=-1s", "wait=5%20s", "wait=1d", "wait=25h", "wait=99999999999999999999s"]
        {
            assert!(matches!(wait(bad), Err(Stray::Malformed(why)) if why.starts_with("wait: ")), "{bad}");
        }
        assert_eq!(duration("1h2m3s4ms"), Some(Duration::from_millis(3_723_004)));
        assert_eq!(duration(&format!("{}h", u64::MAX)), None);
    }
}
