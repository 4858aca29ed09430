//! The probe against the servers of Debian's packages mariadb-server and postgresql.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hilum_plugin::json::quoted;
use hilum_plugin::native::NativeHost;
use hilum_plugin::{Outcome, Request};
use probe_sql::ProbeSql;

type Failure = Box<dyn std::error::Error>;

/// In no message, ever.
const PASSWORD: &str = "tr0ub4dor";

/// The authority of the tests, and what it has signed for `peer.test` and 127.0.0.1, with its key.
const AUTHORITY: &str = include_str!("../../../core/sandbox/tests/attack/tls/authority.pem");
const PAPERS: &str = include_str!("../../../core/sandbox/tests/attack/tls/right.pem");

/// A call's time where the server is expected to answer.
const ENOUGH: Duration = Duration::from_secs(10);

/// How long a server may take to start or stop.
const STARTED: Duration = Duration::from_secs(60);

/// A server of our own, its data in a temporary folder. Both end with it.
struct Server {
    kind: &'static str,
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    /// Waits until a login passes, which is when the server is up.
    fn started(kind: &'static str, command: &mut Command, port: u16, folder: Folder) -> Result<Server, Failure> {
        let log = fs::File::create(folder.0.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| missing(command, &error))?;
        let mut server = Server { kind, child, port, folder: folder.keep() };
        let until = Instant::now() + STARTED;
        loop {
            let outcome = server.check("native", PASSWORD, "");
            if outcome == Outcome::Pass {
                return Ok(server);
            }
            if Instant::now() > until || server.child.try_wait()?.is_some() {
                let log = fs::read_to_string(server.folder.join("log"))?;
                let end: Vec<&str> = log.lines().rev().take(10).collect();
                return Err(format!("{kind} did not start: {outcome:?}; its last words: {end:#?}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn check(&self, user: &str, password: &str, more: &str) -> Outcome {
        self.check_within(ENOUGH, user, password, more)
    }

    fn check_within(&self, timeout: Duration, user: &str, password: &str, more: &str) -> Outcome {
        let (kind, port) = (self.kind, self.port);
        let password = if password.is_empty() { String::new() } else { format!(r#", "password": "{password}""#) };
        let settings = format!(
            r#"{{"kind": "{kind}", "host": "127.0.0.1", "port": {port}, "username": "{user}"{password}{more}}}"#
        );
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let host = NativeHost::new(timeout).with_grant("127.0.0.1", port);
        let outcome =
            hilum_plugin::check::<ProbeSql>(&Request { settings: settings.clone(), timeout_ms, attempt: 1 }, &host);
        assert!(!format!("{outcome:?}").contains(PASSWORD));
        outcome
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        run(Command::new("sh").arg("-c").arg(format!("kill -s {name} {}", self.child.id())))
    }

    /// Stopped, resumed, gone: what the probe says of each.
    fn suffers(mut self) -> Result<(), Failure> {
        assert_eq!(self.check("native", PASSWORD, ""), Outcome::Pass);
        self.signal("STOP")?;
        let asked = Instant::now();
        let outcome = self.check_within(Duration::from_millis(500), "native", PASSWORD, "");
        assert_fails(&outcome, "timed out");
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        self.signal("CONT")?;
        assert_eq!(self.check("native", PASSWORD, ""), Outcome::Pass);
        self.end()?;
        assert_fails(&self.check("native", PASSWORD, ""), "connection refused");
        Ok(())
    }

    /// Ends the server, at once but in order: its own children and shared memory go with it.
    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal("CONT")?;
        self.signal("QUIT")?;
        let until = Instant::now() + STARTED;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.end().is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A temporary folder that is removed unless it is kept.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("probe-sql-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

fn missing(command: &Command, error: &io::Error) -> io::Error {
    let program = command.get_program().to_string_lossy().into_owned();
    let story = format!("cannot run {program}: {error}; install Debian's packages mariadb-server and postgresql");
    io::Error::new(error.kind(), story)
}

/// Runs a program to its end; what it says is part of the error.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(command, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said))))
}

fn is_root() -> io::Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout == b"0\n")
}

/// Whom servers run as that refuse root: `nobody`, whom every system has and no package must make.
const NOBODY: &str = "65534";

/// A program of a server that refuses root.
fn unprivileged(program: &Path) -> io::Result<Command> {
    if !program.exists() {
        let story =
            format!("there is no {}; install Debian's packages mariadb-server and postgresql", program.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, story));
    }
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]).arg(program);
    Ok(command)
}

fn give_away(path: &Path) -> io::Result<()> {
    if is_root()? { run(Command::new("chown").arg("-R").arg(format!("{NOBODY}:{NOBODY}")).arg(path)) } else { Ok(()) }
}

/// Writes the certificates a server shows and trusts; where they are. Servers take a key only if nobody else can read it.
fn write_papers(folder: &Folder) -> io::Result<[PathBuf; 2]> {
    let [papers, authority] = ["papers.pem", "authority.pem"].map(|name| folder.0.join(name));
    fs::write(&papers, PAPERS)?;
    fs::write(&authority, AUTHORITY)?;
    fs::set_permissions(&papers, fs::Permissions::from_mode(0o600))?;
    Ok([papers, authority])
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn mariadb(name: &str) -> Result<Server, Failure> {
    let folder = Folder::new(name)?;
    let [data, socket, init] = ["data", "socket", "init.sql"].map(|name| folder.0.join(name));
    let init_sql = format!(
        "CREATE DATABASE shop;\n\
         CREATE TABLE shop.names (name VARCHAR(20), note VARCHAR(20));\n\
         INSERT INTO shop.names VALUES ('monolith', NULL), ('payments', ''), ('kürbis', 'x');\n\
         CREATE USER native@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
         CREATE USER open@'127.0.0.1';\n\
         INSTALL SONAME 'auth_ed25519';\n\
         CREATE USER curve@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}');\n\
         CREATE USER either@'127.0.0.1' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('{PASSWORD}');\n\
         CREATE USER secure@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;\n\
         CREATE USER known@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE X509;\n\
         GRANT SELECT ON shop.* TO native@'127.0.0.1', either@'127.0.0.1', secure@'127.0.0.1', known@'127.0.0.1';\n"
    );
    fs::write(&init, init_sql)?;
    let [papers, authority] = write_papers(&folder)?;
    give_away(&folder.0)?;
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    // Each server removes what looks like its own left-overs from the temporary folder, so none may share one.
    run(unprivileged(Path::new("/usr/bin/mariadb-install-db"))?.env("TMPDIR", &folder.0).args([
        "--no-defaults",
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
        &option("datadir", &data),
    ]))?;
    let port = free_port()?;
    let mut command = unprivileged(Path::new("/usr/sbin/mariadbd"))?;
    command.env("TMPDIR", &folder.0).args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--character-set-server=utf8mb4",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=8M",
        &format!("--port={port}"),
        &option("datadir", &data),
        &option("socket", &socket),
        &option("pid-file", &folder.0.join("pid")),
        &option("init-file", &init),
        &option("ssl-cert", &papers),
        &option("ssl-key", &papers),
        &option("ssl-ca", &authority),
    ]);
    Server::started("mysql", &mut command, port, folder)
}

/// Where Debian puts the programs of the newest version there is.
fn postgresql_programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("bin/postgres").is_file())
            .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()))
    });
    versions.ok().flatten().map(|version| version.join("bin")).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no /usr/lib/postgresql/VERSION/bin/postgres; install Debian's package postgresql",
        )
    })
}

fn postgresql(name: &str) -> Result<Server, Failure> {
    let programs = postgresql_programs()?;
    let folder = Folder::new(name)?;
    let data = folder.0.join("data");
    let [papers, authority] = write_papers(&folder)?;
    give_away(&folder.0)?;
    run(unprivileged(&programs.join("initdb"))?.current_dir(&folder.0).arg("--pgdata").arg(&data).args([
        "--username=admin",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--no-instructions",
    ]))?;

    let mut single = unprivileged(&programs.join("postgres"))?;
    single.current_dir(&folder.0).args(["--single", "-D"]).arg(&data).arg("postgres");
    let mut child = single
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| missing(&single, &e))?;
    let sql = format!(
        "CREATE DATABASE native\n\
         CREATE USER native PASSWORD '{PASSWORD}'\n\
         CREATE USER clear PASSWORD '{PASSWORD}'\n\
         CREATE USER secure PASSWORD '{PASSWORD}'\n\
         CREATE USER known PASSWORD '{PASSWORD}'\n\
         CREATE USER open\n\
         CREATE USER other\n\
         SET password_encryption = 'md5'\n\
         CREATE USER hashed PASSWORD '{PASSWORD}'\n\
         CREATE TABLE names (name text, note text)\n\
         INSERT INTO names VALUES ('monolith', NULL), ('payments', ''), ('kürbis', 'x')\n\
         GRANT SELECT ON names TO native, hashed, clear, open\n"
    );
    child.stdin.take().ok_or("no stdin")?.write_all(sql.as_bytes())?;
    assert!(child.wait()?.success());

    let mut access = String::new();
    for (user, method) in
        [("native", "scram-sha-256"), ("clear", "password"), ("hashed", "md5"), ("open", "trust"), ("other", "ident")]
    {
        writeln!(access, "host all {user} 127.0.0.1/32 {method}")?;
    }
    writeln!(access, "hostssl all secure 127.0.0.1/32 scram-sha-256")?;
    writeln!(access, "hostssl all known 127.0.0.1/32 scram-sha-256 clientcert=verify-ca")?;
    fs::write(data.join("pg_hba.conf"), access)?;
    let port = free_port()?;
    let mut command = unprivileged(&programs.join("postgres"))?;
    command.current_dir(&folder.0).arg("-D").arg(&data).args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
        "-c",
        "fsync=off",
        "-c",
        "ssl=on",
        "-c",
        &format!("ssl_cert_file={}", papers.display()),
        "-c",
        &format!("ssl_key_file={}", papers.display()),
        "-c",
        &format!("ssl_ca_file={}", authority.display()),
        "-c",
        &format!("port={port}"),
    ]);
    Server::started("postgresql", &mut command, port, folder)
}

#[track_caller]
fn assert_fails(outcome: &Outcome, said: &str) {
    assert!(matches!(outcome, Outcome::Fail(why) if why.contains(said)), "{said}: {outcome:?}");
}

#[track_caller]
fn assert_unknown(outcome: &Outcome, said: &str) {
    assert!(matches!(outcome, Outcome::Unknown(why) if why.contains(said)), "{said}: {outcome:?}");
}

/// What both answer alike, with settings that find the table.
fn answers_queries(server: &Server, database: &str) {
    let ask = |more: &str| server.check("native", PASSWORD, &format!(r#", "database": "{database}"{more}"#));
    const NAMES: &str = r#", "query": "SELECT name, note FROM names ORDER BY name""#;
    for more in [
        "",
        NAMES,
        &format!(r#"{NAMES}, "expect": ["monolith", "payments", "kürbis", ""]"#),
        &format!(r#"{NAMES}, "rows": {{"min": 3, "max": 3}}"#),
        r#", "query": "SELECT name FROM names WHERE false", "rows": {"max": 0}"#,
        r#", "query": "SELECT 40 + 2 AS answer;", "expect": "42", "rows": {"min": 1, "max": 1}"#,
        r#", "query": "SELECT repeat('x', 70000)", "rows": {"min": 1}"#,
    ] {
        assert_eq!(ask(more), Outcome::Pass, "{more}");
    }
    assert_fails(
        &ask(&format!(r#"{NAMES}, "expect": ["monolith", "basket"]"#)),
        "did not return \"basket\"; 3 rows came",
    );
    assert_fails(&ask(&format!(r#"{NAMES}, "rows": {{"min": 4}}"#)), "fewer rows than rows.min = 4");
    assert_fails(&ask(&format!(r#"{NAMES}, "rows": {{"max": 2}}"#)), "more rows than rows.max = 2");
    assert_unknown(&ask(r#", "query": "SELECT repeat('x', 300000)""#), "larger than this probe reads");
    let many = r#", "query": "SELECT repeat('x', 100000) FROM names a, names b, names c""#;
    assert_unknown(&ask(many), "ask for less, such as with LIMIT 1");
}

#[test]
fn mariadb_lets_in_and_answers_or_says_why_not() -> Result<(), Failure> {
    let server = mariadb("mariadb-answers")?;
    answers_queries(&server, "shop");
    assert_eq!(server.check("open", "", ""), Outcome::Pass);
    assert_eq!(server.check("either", PASSWORD, r#", "query": "DO 1""#), Outcome::Pass);

    let denied = "error 1045 (28000): Access denied for user 'native'@";
    assert_fails(&server.check("native", "wrong", ""), denied);
    assert_fails(&server.check("native", "", ""), "(using password: NO)");
    assert_fails(&server.check("stranger", PASSWORD, ""), "error 1045");
    assert_fails(&server.check("native", PASSWORD, r#", "database": "attic""#), "'attic'");
    let missing = r#", "query": "SELECT * FROM shop.basket""#;
    let outcome = server.check("native", PASSWORD, missing);
    assert_fails(
        &outcome,
        "\"SELECT * FROM shop.basket\" failed: error 1146 (42S02): Table 'shop.basket' doesn't exist",
    );
    assert_fails(&server.check("native", PASSWORD, r#", "query": "SELEC 1""#), "error 1064 (42000)");
    assert_fails(&server.check("native", PASSWORD, r#", "query": "SELECT 1; SELECT 2""#), "error 1064 (42000)");
    assert_fails(&server.check("native", PASSWORD, r#", "query": ";""#), "error 1065 (42000): Query was empty");
    assert_unknown(
        &server.check("curve", PASSWORD, ""),
        "to log in by \"client_ed25519\", which this probe does not speak",
    );
    assert_eq!(server.check("native", PASSWORD, ""), Outcome::Pass);
    Ok(())
}

#[test]
fn postgresql_lets_in_and_answers_or_says_why_not() -> Result<(), Failure> {
    let server = postgresql("postgresql-answers")?;
    answers_queries(&server, "postgres");
    let database = r#", "database": "postgres""#;
    for user in ["native", "clear", "hashed"] {
        assert_eq!(server.check(user, PASSWORD, database), Outcome::Pass, "{user}");
        let denied = format!("refused the login of \"{user}\": FATAL 28P01: password authentication failed for user");
        assert_fails(&server.check(user, "wrong", database), &denied);
        assert_unknown(&server.check(user, "", database), "wants a password");
    }
    assert_eq!(server.check("open", "", database), Outcome::Pass);
    assert_fails(&server.check("stranger", "", database), "FATAL 28000: no pg_hba.conf entry for host \"127.0.0.1\"");
    assert_fails(&server.check("other", "", database), "FATAL 28000: Ident authentication failed");
    // Without a database the server takes the one named as the user.
    assert_fails(&server.check("open", "", ""), "FATAL 3D000: database \"open\" does not exist");
    let ask = |query: &str| server.check("open", "", &format!(r#"{database}, "query": "{query}""#));
    assert_fails(&ask("SELECT * FROM basket"), "failed: ERROR 42P01: relation \"basket\" does not exist");
    assert_fails(&ask("SELEC 1"), "ERROR 42601: syntax error");
    assert_fails(&ask("SELECT 1 / (2 - n) FROM generate_series(1, 9) AS n"), "ERROR 22012: division by zero");
    assert_unknown(&ask("SELECT 1; SELECT 2"), "more than one statement");
    assert_unknown(&ask("-- nothing"), "asks nothing");
    assert_unknown(&ask("COPY names TO STDOUT"), "copies data");
    assert_eq!(ask("SELECT"), Outcome::Pass);
    Ok(())
}

/// What both answer alike to who speaks TLS; `refused` is what a user who has to is told without.
fn speaks_tls(server: &Server, database: &str, refused: &str) {
    let (authority, papers) = (quoted(AUTHORITY), quoted(PAPERS));
    let database = format!(r#", "database": "{database}""#);
    let ask = |user: &str, tls: &str| server.check(user, PASSWORD, &format!(r#"{database}, "tls": {{{tls}}}"#));
    let trusting = format!(r#""ca": {authority}"#);
    let showing = format!(r#"{trusting}, "certificate": {papers}, "key": {papers}"#);
    for (user, tls) in [("native", &trusting), ("secure", &trusting), ("known", &showing), ("secure", &showing)] {
        assert_eq!(ask(user, tls), Outcome::Pass, "{user} {tls}");
    }
    assert_eq!(ask("secure", &format!(r#"{trusting}, "server-name": "peer.test""#)), Outcome::Pass);
    assert_fails(&ask("secure", &format!(r#"{trusting}, "server-name": "other.test""#)), "cannot agree on TLS with ");
    assert_fails(
        &ask("secure", &format!(r#""ca": {papers}"#)),
        "; if it is the right one, set tls.ca or tls.server-name",
    );
    assert_fails(
        &server.check("secure", "wrong", &format!(r#"{database}, "tls": {{{trusting}}}"#)),
        "refused the login",
    );
    assert_fails(&server.check("secure", PASSWORD, &database), refused);
    assert_fails(&ask("known", &trusting), "refused the login of \"known\"");
}

#[test]
fn mariadb_speaks_tls() -> Result<(), Failure> {
    let server = mariadb("mariadb-tls")?;
    speaks_tls(&server, "shop", "error 1045 (28000): Access denied for user 'secure'@");
    Ok(())
}

#[test]
fn postgresql_speaks_tls() -> Result<(), Failure> {
    let server = postgresql("postgresql-tls")?;
    speaks_tls(&server, "postgres", "no encryption");
    Ok(())
}

#[test]
fn mariadb_that_is_stopped_resumed_and_gone_is_seen_as_such() -> Result<(), Failure> {
    mariadb("mariadb-suffers")?.suffers()
}

#[test]
fn postgresql_that_is_stopped_resumed_and_gone_is_seen_as_such() -> Result<(), Failure> {
    let server = postgresql("postgresql-suffers")?;
    server.suffers()
}
