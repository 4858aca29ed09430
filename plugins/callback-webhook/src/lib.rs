//! Callback: tells an event to a URL, as JSON by HTTP.
//!
//! What each setting means is said in the README. The modules: [`settings`] says whom to tell, [`content`] what, this one tells and judges the
//! answer. HTTP and TLS are the host's; redirects are followed here, because an event must not be lost in a request that became a GET.
#![forbid(unsafe_code)]

mod content;
mod settings;

use hilum_plugin::tls::PemError;
use hilum_plugin::{
    Callback, Context, Description, Event, Grant, Host, HttpRequest, HttpResponse, Identity, Plugin, Reaction,
    Settings, SettingsError, Trust, shown,
};

pub use crate::settings::Target;
use crate::settings::Url;

/// Bytes of an answer that are handed on. Enough for a state that the receiver wants to be kept.
const MAX_ANSWER: u32 = 64 * 1024;

/// Bytes of a request with all that goes with it. The host takes 1 MiB, its own bookkeeping included.
const MAX_REQUEST: usize = 1_000_000;

/// The plugin.
#[derive(Debug)]
pub struct CallbackWebhook;

impl Plugin for CallbackWebhook {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "callback-webhook",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant {
                    kind: "connect",
                    value: None,
                    reason: "host and port of `url`, and of each place its redirects lead to",
                },
                Grant { kind: "files", value: None, reason: "files that `tls` names, if it names any" },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Callback for CallbackWebhook {
    fn notify(target: &Target, event: &Event, _: &Context, host: &impl Host) -> Reaction {
        tell(target, event, host).unwrap_or_else(|reaction| reaction)
    }
}

hilum_plugin::export_callback!(CallbackWebhook);

/// One telling. An early end is an `Err`.
fn tell(target: &Target, event: &Event, host: &impl Host) -> Result<Reaction, Reaction> {
    let content = content::json(event).map_err(Reaction::Failed)?;
    let unusable = |error: PemError| match error {
        PemError::Refused(why) => Reaction::Failed(why),
        PemError::Unusable(why) => Reaction::retry(why),
    };
    let trust = target.tls.trust(host).map_err(unusable)?;
    let identity = target.tls.identity(host).map_err(unusable)?;
    let mut url = target.url.clone();
    let mut left = target.redirects;
    loop {
        let request = request(target, &url, event, &content, &trust, identity.as_ref());
        check_size(&request)?;
        let place = url.place();
        let answer = host
            .fetch(&request)
            .map_err(|error| error.reaction(target.masked(&format!("cannot tell {place}: {error}"))))?;
        match answer.status {
            307 | 308 if left > 0 => {
                left -= 1;
                url = redirected(target, &url, &answer)?;
            }
            _ => return Ok(judge(target, &url, &answer)),
        }
    }
}

fn request(
    target: &Target,
    url: &Url,
    event: &Event,
    content: &str,
    trust: &Trust,
    identity: Option<&Identity>,
) -> HttpRequest {
    // What is a secret between us and the first place is not told to another.
    let at_home = url.is_beside(&target.url);
    let own = if at_home { target.headers.as_slice() } else { &[] };
    let given = |name: &str| own.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let mut headers = Vec::new();
    if !given("content-type") {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    }
    if !given("user-agent") {
        let agent = concat!("hilum-callback-webhook/", env!("CARGO_PKG_VERSION"));
        headers.push(("User-Agent".to_owned(), agent.to_owned()));
    }
    headers.push(("Idempotency-Key".to_owned(), event.id.clone()));
    if let Some(secret) = &target.secret {
        let signature = content::signature(secret.as_bytes(), content.as_bytes());
        headers.push(("X-Hilum-Signature".to_owned(), format!("sha256={signature}")));
    }
    headers.extend_from_slice(own);
    HttpRequest {
        method: target.method.clone(),
        url: url.whole.clone(),
        headers,
        body: content.as_bytes().to_vec(),
        redirects: 0,
        trust: trust.clone(),
        server_name: target.tls.server_name().filter(|_| at_home).map(str::to_owned),
        identity: identity.filter(|_| at_home).cloned(),
        limit: MAX_ANSWER,
    }
}

/// The host stops a plugin that passes more than it takes; so that is found here.
fn check_size(request: &HttpRequest) -> Result<(), Reaction> {
    let fields = request.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(32));
    let authorities = if let Trust::Authorities(pem) = &request.trust { pem.len() } else { 0 };
    let identity = request.identity.as_ref().map_or(0, |who| who.certificates.len().saturating_add(who.key.len()));
    let parts = [request.url.len(), request.body.len(), authorities, identity];
    let size = parts.into_iter().chain(fields).fold(0_usize, usize::saturating_add);
    if size <= MAX_REQUEST {
        return Ok(());
    }
    let content = request.body.len();
    Err(Reaction::Failed(format!(
        "the event has {content} bytes, with header and certificates {size}; at most {MAX_REQUEST} can be sent"
    )))
}

/// Where an answer leads.
fn redirected(target: &Target, url: &Url, answer: &HttpResponse) -> Result<Url, Reaction> {
    let failed = |why: &str| Reaction::Failed(format!("{} answered {}, {why}", url.place(), answer.status));
    let location = field(answer, "location").ok_or_else(|| failed("but not where to go"))?;
    let next = url.follow(&location).map_err(|why| failed(&format!("but where to go cannot be used: {why}")))?;
    if target.url.secure && !next.secure {
        return Err(failed(&format!("which leads to {} without TLS; the event is not told there", next.place())));
    }
    Ok(next)
}

/// A field of an answer as text.
fn field(answer: &HttpResponse, name: &str) -> Option<String> {
    let (_, value) = answer.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn judge(target: &Target, url: &Url, answer: &HttpResponse) -> Reaction {
    let text = String::from_utf8_lossy(&answer.body);
    if (200..300).contains(&answer.status) {
        return Reaction::Done(text.into_owned());
    }
    let said = if answer.body.is_empty() {
        String::new()
    } else {
        format!(" and said {}", shown(target.masked(&text).as_bytes()))
    };
    let story = format!("{} answered {}{said}", url.place(), answer.status);
    let to = || {
        let location = field(answer, "location").and_then(|location| url.follow(&location).ok());
        location.map_or_else(|| "nowhere".to_owned(), |next| format!("to {}", next.place()))
    };
    match answer.status {
        408 | 425 | 429 | 500..=599 => {
            // Of its two forms (RFC 9110, section 10.2.3) the one in seconds; a date is left for people.
            let wait = field(answer, "retry-after");
            let seconds = wait.as_deref().and_then(|wait| wait.trim().parse::<u32>().ok());
            let said = wait.map(|wait| format!("; it asks for a pause of {}", shown(wait.as_bytes())));
            let after_ms = seconds.map(|seconds| seconds.saturating_mul(1000));
            Reaction::Retry { why: story + &said.unwrap_or_default(), after_ms }
        }
        301..=303 => Reaction::Failed(format!(
            "{story}; it leads {}, by a request without the event; write the new address as url",
            to()
        )),
        307 | 308 => Reaction::Failed(format!(
            "{story}; it leads {}, and {} redirects are followed; set redirects or write the new address as url",
            to(),
            target.redirects
        )),
        _ => Reaction::Failed(story),
    }
}
