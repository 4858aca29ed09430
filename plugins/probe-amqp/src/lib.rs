//! Probe: an AMQP 0-9-1 broker lets one log in and, if asked, has a queue that is not too full and is being read.
//!
//! What each setting means is said in the README. The modules: [`settings`] says what to ask, [`wire`] knows the bytes, this one leads the
//! conversation. It sends no message, takes none, and makes no queue.
#![forbid(unsafe_code)]

mod settings;
mod wire;

use hilum_plugin::{
    Connection, Description, Grant, Host, NetworkError, Outcome, Plugin, Probe, Request, Settings, SettingsError, tls,
};

use crate::settings::Queue;
pub use crate::settings::Target;
use crate::wire::{Message, Method, MethodReader, Reason, Table};

/// Bytes asked of the host at a time. **Units:** bytes.
const READ: u32 = 16 * 1024;

/// The one way of logging in that is spoken here: user name and password as they are.
const MECHANISM: &str = "PLAIN";

/// Bytes of a name or a list that are shown.
const SHOWN: usize = 64;

/// Bytes of a server's own reason that are shown: RabbitMQ's for a refused login has 105.
const SHOWN_REASON: usize = 160;

/// The reply code of a client that has no complaint.
const REPLY_SUCCESS: u16 = 200;

/// The plugin.
#[derive(Debug)]
pub struct ProbeAmqp;

impl Plugin for ProbeAmqp {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "probe-amqp",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant { kind: "connect", value: None, reason: "host and port of the settings" },
                Grant { kind: "files", value: None, reason: "files that `tls` names, if it names any" },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Target::read(settings)
    }
}

impl Probe for ProbeAmqp {
    fn check(target: &Target, _: &Request, host: &impl Host) -> Outcome {
        ask(target, host).unwrap_or_else(|outcome| outcome)
    }
}

hilum_plugin::export!(ProbeAmqp);

/// One conversation. An early end is an `Err`.
fn ask(target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let place = target.place.to_string();
    let connection = tls::connect(&target.place, target.tls.as_ref(), host, &[])?;
    let mut session = Session { connection, reader: MethodReader::default(), target, place };
    session.log_in()?;
    let outcome = match &target.queue {
        None => Outcome::Pass,
        Some(queue) => session.look_at(queue)?,
    };
    session.close();
    Ok(outcome)
}

/// What is being asked of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Header,
    Login,
    VirtualHost,
    Channel,
    Queue,
}

impl Question {
    /// Fits after "answer".
    fn words(self, target: &Target) -> String {
        match self {
            Question::Header => "the header of AMQP 0-9-1".to_owned(),
            Question::Login => format!("the login of user {}", short(&target.username)),
            Question::VirtualHost => format!("the opening of virtual host {}", short(&target.virtual_host)),
            Question::Channel => "the opening of a channel".to_owned(),
            Question::Queue => {
                let name = target.queue.as_ref().map(|queue| short(&queue.name)).unwrap_or_default();
                format!("the look at queue {name}")
            }
        }
    }

    /// What a person can do when the server refuses it with this code.
    fn way_out(self, code: u16, target: &Target) -> &'static str {
        match (self, code) {
            (Question::Login, 403) if target.username == "guest" => {
                "; check username and password (RabbitMQ lets guest in from its own machine only)"
            }
            (Question::Login, 403) => "; check username and password",
            (Question::VirtualHost, 403 | 404 | 530) => "; check virtual-host and the user's permissions there",
            (Question::Queue, 403) => "; check the user's permissions on the queue",
            (Question::Queue, 404) => "; check queue and virtual-host",
            _ => "",
        }
    }
}

/// A connection and what is known of it.
struct Session<'a> {
    connection: Box<dyn Connection>,
    reader: MethodReader,
    target: &'a Target,
    place: String,
}

impl Session<'_> {
    /// From the first byte to an open virtual host.
    fn log_in(&mut self) -> Result<(), Outcome> {
        match self.exchange(Question::Header, wire::HEADER)? {
            Method::Start { version: (0, 9), mechanisms } => self.require_plain(&mechanisms)?,
            Method::Start { version: (major, minor), .. } => {
                return Err(self.fail(format_args!("speaks AMQP {major}-{minor}, not 0-9-1")));
            }
            other => return Err(self.unexpected(Question::Header, &other, wire::START)),
        }
        let (max_channel, max_frame) = match self.exchange(Question::Login, &self.start_ok())? {
            Method::Tune { max_channel, max_frame } => (max_channel, max_frame),
            Method::Plain(wire::SECURE) => {
                return Err(Outcome::Unknown(format!(
                    "{} asks for more than a user name and a password, which this probe cannot give",
                    self.place
                )));
            }
            other => return Err(self.unexpected(Question::Login, &other, wire::TUNE)),
        };
        let limits = Message::new(wire::CONNECTION, wire::TUNE_OK)
            .u16(lesser(max_channel, wire::CHANNEL))
            .u32(lesser(max_frame, wire::MAX_PAYLOAD.saturating_add(wire::OVERHEAD)))
            // No heartbeats: the call is over sooner than one would be due.
            .u16(0);
        let open = Message::new(wire::CONNECTION, wire::OPEN).short(&self.target.virtual_host).short("").u8(0);
        match self.exchange(Question::VirtualHost, &[limits.frame(), open.frame()].concat())? {
            Method::Plain(wire::OPEN_OK) => Ok(()),
            other => Err(self.unexpected(Question::VirtualHost, &other, wire::OPEN_OK)),
        }
    }

    fn require_plain(&self, mechanisms: &[u8]) -> Result<(), Outcome> {
        if mechanisms.split(|byte| *byte == b' ').any(|name| name == MECHANISM.as_bytes()) {
            return Ok(());
        }
        Err(Outcome::Unknown(format!(
            "{} offers the logins {}, this probe speaks {MECHANISM} only; let the broker offer it on this port",
            self.place,
            wire::shown(mechanisms, SHOWN)
        )))
    }

    fn start_ok(&self) -> Vec<u8> {
        // So that a refused login is answered with a reason before the connection is closed.
        let capabilities = Table::default().yes("authentication_failure_close");
        let properties = Table::default()
            .text("product", "hilum")
            .text("version", env!("CARGO_PKG_VERSION"))
            .text("connection_name", "hilum probe-amqp")
            .table("capabilities", &capabilities);
        let response = format!("\0{}\0{}", self.target.username, self.target.password);
        Message::new(wire::CONNECTION, wire::START_OK)
            .table(&properties)
            .short(MECHANISM)
            .long(response.as_bytes())
            .short("en_US")
            .frame()
    }

    /// Opens a channel and asks for a queue without making it.
    fn look_at(&mut self, queue: &Queue) -> Result<Outcome, Outcome> {
        let open = Message::new(wire::CHANNEL, wire::CHANNEL_OPEN).short("");
        match self.exchange(Question::Channel, &open.frame())? {
            Method::Plain(wire::CHANNEL_OPEN_OK) => {}
            Method::ChannelClose(reason) => return Ok(self.refused_on_channel(Question::Channel, &reason)),
            other => return Err(self.unexpected(Question::Channel, &other, wire::CHANNEL_OPEN_OK)),
        }
        const PASSIVE: u8 = 1;
        let declare = Message::new(wire::CHANNEL, wire::QUEUE_DECLARE)
            .u16(0)
            .short(&queue.name)
            .u8(PASSIVE)
            .table(&Table::default());
        let (name, messages, consumers) = match self.exchange(Question::Queue, &declare.frame())? {
            Method::QueueDeclareOk { queue, messages, consumers } => (queue, messages, consumers),
            Method::ChannelClose(reason) => return Ok(self.refused_on_channel(Question::Queue, &reason)),
            other => return Err(self.unexpected(Question::Queue, &other, wire::QUEUE_DECLARE_OK)),
        };
        if name != queue.name.as_bytes() {
            return Err(self.fail(format_args!(
                "answered {} with another queue, {}",
                Question::Queue.words(self.target),
                self.quote(&name)
            )));
        }
        let shown = short(&queue.name);
        if let Some(bound) = queue.max_messages.filter(|bound| messages > *bound) {
            return Ok(
                self.fail(format_args!("has too many messages in queue {shown}: {messages}, max-messages is {bound}"))
            );
        }
        if let Some(bound) = queue.min_consumers.filter(|bound| consumers < *bound) {
            return Ok(self
                .fail(format_args!("has too few consumers at queue {shown}: {consumers}, min-consumers is {bound}")));
        }
        Ok(Outcome::Pass)
    }

    /// Sends bytes and waits for the answer. That the server ends the connection is an error.
    fn exchange(&mut self, question: Question, bytes: &[u8]) -> Result<Method, Outcome> {
        match self.connection.write(bytes) {
            // A server may say why and close before it has read everything; what it said then still counts.
            Ok(()) | Err(NetworkError::Closed) => {}
            Err(error) => {
                return Err(error.outcome(&format!("send {} to {}", question.words(self.target), self.place)));
            }
        }
        loop {
            match self.reader.next() {
                Ok(None) => self.receive(question)?,
                Ok(Some(Method::Close(reason))) => {
                    let confirmation = Message::new(wire::CONNECTION, wire::CLOSE_OK);
                    // The server has given up on the connection; whether it hears this makes no difference to the answer.
                    let _unheard = self.connection.write(&confirmation.frame());
                    return Err(self.refused(question, &reason));
                }
                Ok(Some(method)) => return Ok(method),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Reads some bytes.
    fn receive(&mut self, question: Question) -> Result<(), Outcome> {
        let chunk = match self.connection.read(READ) {
            Ok(chunk) => chunk,
            Err(NetworkError::TimedOut) => {
                let words = question.words(self.target);
                return Err(self.fail(format_args!("timed out: no answer to {words}, {}", self.progress())));
            }
            Err(NetworkError::Closed) => Vec::new(),
            Err(error) => {
                return Err(error.outcome(&format!(
                    "read the answer of {} to {}",
                    self.place,
                    question.words(self.target)
                )));
            }
        };
        if chunk.is_empty() {
            let words = question.words(self.target);
            let hint = match question {
                // What brokers did before they could say why.
                Question::Login => "; a broker that gives no reason mostly means that username or password is wrong",
                Question::Header | Question::VirtualHost | Question::Channel | Question::Queue => "",
            };
            return Err(self.fail(format_args!("closed the connection at {words}, {}{hint}", self.progress())));
        }
        self.reader.feed(&chunk).map_err(|error| self.fail(error))
    }

    fn progress(&self) -> String {
        match self.reader.begun() {
            0 => "nothing came".to_owned(),
            count => format!("{count} of a frame's bytes came"),
        }
    }

    /// Ends the connection as the protocol wants it. The answer is known by now: an error here changes nothing.
    fn close(&mut self) {
        let close = Message::new(wire::CONNECTION, wire::CLOSE).u16(REPLY_SUCCESS).short("done").u16(0).u16(0);
        if self.connection.write(&close.frame()).is_err() {
            return;
        }
        loop {
            match self.reader.next() {
                Ok(None) => match self.connection.read(READ) {
                    Ok(chunk) if !chunk.is_empty() && self.reader.feed(&chunk).is_ok() => {}
                    Ok(_) | Err(_) => return,
                },
                Ok(Some(Method::Close(_) | Method::Plain(wire::CLOSE_OK))) | Err(_) => return,
                Ok(Some(_)) => {}
            }
        }
    }

    /// A failure; `story` fits after the name of the place.
    fn fail(&self, story: impl std::fmt::Display) -> Outcome {
        Outcome::Fail(format!("{} {story}", self.place))
    }

    fn unexpected(&self, question: Question, found: &Method, wanted: wire::MethodId) -> Outcome {
        let words = question.words(self.target);
        self.fail(format_args!("answered {words} with {}, not {}", wire::name(found.id()), wire::name(wanted)))
    }

    /// The server's own reason.
    fn refused(&self, question: Question, reason: &Reason) -> Outcome {
        let words = question.words(self.target);
        let way_out = question.way_out(reason.code, self.target);
        self.fail(format_args!("answered {words} with {} {}{way_out}", reason.code, self.quote(&reason.text)))
    }

    /// The server refused something and the connection goes on.
    fn refused_on_channel(&mut self, question: Question, reason: &Reason) -> Outcome {
        let confirmation = Message::new(wire::CHANNEL, wire::CHANNEL_CLOSE_OK);
        // If it does not hear this, it does not hear the end of the connection either, which is as well.
        let _unheard = self.connection.write(&confirmation.frame());
        self.refused(question, reason)
    }

    /// A text of the server's for people, unless it repeats the password.
    fn quote(&self, text: &[u8]) -> String {
        let password = self.target.password.as_bytes();
        let is_secret = !password.is_empty() && password != self.target.username.as_bytes();
        if is_secret && text.windows(password.len()).any(|part| part == password) {
            return "and a text with the password in it".to_owned();
        }
        wire::shown(text, SHOWN_REASON)
    }
}

/// A name of the settings for people.
fn short(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or(name)),
    }
}

/// The server's limit or ours, 0 meaning that the server has none.
fn lesser<T: Ord + Default>(theirs: T, ours: T) -> T {
    if theirs == T::default() { ours } else { theirs.min(ours) }
}
