//! Files that are not granted, and ways out of those that are.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hilum_wire::Answer;
use serde_json::json;

use crate::stage::{Setting, Stage};

const SECRET: &str = "nobody may read this";

/// A granted folder with ways out, and what lies outside of it. All may be read and written by anybody: what keeps a plugin out is not the mode.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let tree = Tree(std::env::temp_dir().join(format!("hilum-attack-{name}-{}", std::process::id())));
        let _old = fs::remove_dir_all(&tree.0);
        for folder in ["", "in", "in/sub", "out"] {
            let folder = tree.0.join(folder);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        }
        for (file, text) in [("in/file", "harmless"), ("in/sub/file", "harmless"), ("out/secret", SECRET)] {
            let file = tree.0.join(file);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        }
        let (inside, outside) = (tree.inside(), tree.0.join("out"));
        symlink(outside.join("secret"), inside.join("absolute")).unwrap();
        symlink("../out/secret", inside.join("relative")).unwrap();
        symlink("../out", inside.join("folder")).unwrap();
        symlink("/proc/self/root", inside.join("root")).unwrap();
        symlink("/", inside.join("top")).unwrap();
        symlink("../out/new", inside.join("dangling")).unwrap();
        let made = Command::new("mkfifo").arg(inside.join("fifo")).arg(outside.join("fifo")).status().unwrap();
        assert!(made.success());
        symlink("../out/fifo", inside.join("to-fifo")).unwrap();
        tree
    }

    fn inside(&self) -> PathBuf {
        self.0.join("in")
    }

    /// A path below the granted folder, or beside it.
    fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.inside().display())
    }

    fn start(&self, write: bool) -> Stage {
        Setting::default().files(&self.inside(), write).start()
    }

    /// What is outside is what it was.
    fn assert_untouched(&self, name: &str) {
        let mut outside: Vec<_> =
            fs::read_dir(self.0.join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        outside.sort();
        assert_eq!(outside, ["fifo", "secret"], "{name}");
        assert_eq!(fs::read_to_string(self.0.join("out/secret")).unwrap(), SECRET, "{name}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_that_are_not_granted_are_denied_by_name() {
    let mut stage = Setting::default().start();
    for attempt in ["read-file", "list-directory", "file-status"] {
        let met = stage.attempt(attempt, attempt, &json!({"path": "/etc/passwd"}), 5000);
        met.denied("add \"/etc/passwd:ro\" to allow.files");
    }
    for attempt in ["write-file", "remove-file"] {
        let met = stage.attempt(attempt, attempt, &json!({"path": "/tmp/new"}), 5000);
        met.denied("add \"/tmp/new:rw\" to allow.files");
    }
}

#[test]
fn no_path_leads_out_of_a_granted_folder() {
    let tree = Tree::new("paths");
    let mut stage = tree.start(true);
    let granted = tree.path("file");
    for (name, path, said) in [
        ("dots", tree.path("../out/secret"), "Invalid("),
        ("dots at the end", tree.path("sub/.."), "Invalid("),
        ("a dot", tree.path("./file"), "Invalid("),
        ("dots out of the root", "/../../etc/passwd".to_owned(), "Invalid("),
        ("a relative path", "etc/passwd".to_owned(), "Invalid("),
        ("no path", String::new(), "Invalid("),
        ("a NUL", format!("{granted}\0/../../out/secret"), "Invalid("),
        ("a very long path", format!("{granted}/{}", "x/".repeat(10_000)), "Invalid("),
        ("a very long name", tree.path(&"x".repeat(1000)), "Other("),
        ("a sibling with the same beginning", format!("{}side", tree.inside().display()), "Denied("),
        ("beside", tree.0.join("out/secret").display().to_string(), "Denied("),
        ("a file taken for a folder", tree.path("file/x"), "NotFound("),
    ] {
        for attempt in ["read-file", "write-file", "remove-file", "list-directory"] {
            stage.attempt(&format!("{attempt} by {name}"), attempt, &json!({"path": path}), 5000).failed(said);
            tree.assert_untouched(name);
        }
    }
}

#[test]
fn no_link_leads_out_of_a_granted_folder() {
    let tree = Tree::new("links");
    let mut stage = tree.start(true);
    for link in ["absolute", "relative", "folder/secret", "root/etc/passwd", "top/etc/passwd", "to-fifo"] {
        for attempt in ["read-file", "file-status", "list-directory"] {
            let met =
                stage.attempt(&format!("{attempt} through {link}"), attempt, &json!({"path": tree.path(link)}), 5000);
            met.failed("Denied(\"").failed("leads out");
        }
    }
    stage.attempt("read a pipe", "read-file", &json!({"path": tree.path("fifo")}), 5000).failed("WrongKind(");
    // The link itself may be replaced, in a folder that may be written; what it leads to is not touched.
    for link in ["folder/new", "folder/secret", "root/tmp/new", "top/tmp/new"] {
        for attempt in ["write-file", "remove-file"] {
            let met =
                stage.attempt(&format!("{attempt} through {link}"), attempt, &json!({"path": tree.path(link)}), 5000);
            met.failed("Denied(\"");
            tree.assert_untouched(link);
        }
    }
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_never_written_through() {
    let tree = Tree::new("replaced");
    let mut stage = tree.start(true);
    for link in ["absolute", "relative", "dangling", "to-fifo"] {
        let path = tree.inside().join(link);
        let id = stage.ask("write-file", &json!({"path": path}), 5000);
        // The first way of writing replaces, and so succeeds: in the folder it may write.
        assert_eq!(stage.answer(id).0, hilum_wire::Answer::Pass, "{link}");
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{link}");
        tree.assert_untouched(link);
    }
}

/// Ends whoever waits for it, also when a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_file_swapped_for_a_link_while_it_is_read_leads_nowhere() {
    let tree = Tree::new("swapped");
    let mut stage = tree.start(false);
    let (done, beside) = (AtomicBool::new(false), tree.0.join("in/beside"));
    symlink("../out", &beside).unwrap();
    let swap = |one: &Path, other: &Path, aside: &Path| {
        fs::rename(one, aside).unwrap();
        fs::rename(other, one).unwrap();
        fs::rename(aside, other).unwrap();
    };
    fs::write(tree.0.join("in/sub/secret"), "harmless").unwrap();
    thread::scope(|scope| {
        let _ending = Ending(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(&tree.0.join("in/sub"), &beside, &tree.0.join("in/aside"));
                swap(&tree.0.join("in/file"), &tree.0.join("in/relative"), &tree.0.join("in/aside2"));
            }
        });
        for path in ["sub/secret", "file"] {
            let with = json!({"path": tree.path(path), "secret": SECRET});
            stage.attempt(&format!("{path} while it is swapped"), "read-swapped", &with, 1500).failed(" read, ");
        }
    });
    tree.assert_untouched("swapped");
}

#[test]
fn a_folder_granted_to_be_read_is_not_written() {
    let tree = Tree::new("read-only");
    let mut stage = tree.start(false);
    for path in ["file", "new", "sub/file", "absolute"] {
        for attempt in ["write-file", "remove-file"] {
            let path = tree.path(path);
            let met = stage.attempt(&format!("{attempt} {path}"), attempt, &json!({"path": path}), 5000);
            met.denied(&format!("add \"{path}:rw\" to allow.files"));
        }
    }
    assert_eq!(fs::read_to_string(tree.path("file")).unwrap(), "harmless");
    assert!(!Path::new(&tree.path("new")).exists());
}

#[test]
fn nothing_but_files_is_opened_and_a_file_that_is_read_for_ever_is_no_others_wait() {
    let tree = Tree::new("devices");
    let mut stage = Setting::default().files(&tree.inside(), false).files(Path::new("/dev"), true).start();
    for device in ["/dev/zero", "/dev/tty", "/dev/random"] {
        stage.attempt(device, "read-file", &json!({"path": device}), 2000).failed("met");
    }
    fs::write(tree.path("large"), vec![b'x'; 1_000_000]).unwrap();
    let with = json!({"path": tree.path("large")});
    for met in stage.attempt_times("a large file", "files-at-once", &with, 1000, 32) {
        let met = met.failed_or_late(" bytes");
        // Whole each time, though the host gives it in parts.
        let Answer::Fail(why) = &met.answer else { continue };
        let count: usize = why.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(count % 1_000_000, 0, "{why}");
    }
}
