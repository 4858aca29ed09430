//! That `component` comes as far as it says: a plugin is compiled and asked, and what is less than one is refused before.
#![forbid(unsafe_code)]

use hilum_fuzz::component::{compile_and_ask, component, samples};

#[test]
fn plugins_are_compiled_and_asked_and_their_beginnings_are_not() {
    for (name, bytes) in samples::plugins() {
        assert!(compile_and_ask(&bytes), "{name} was not asked");
        for parts in 1..8 {
            let beginning = &bytes[..bytes.len() * parts / 8];
            assert!(!compile_and_ask(beginning), "{parts} eighths of {name} were asked");
        }
    }
}

#[test]
fn what_is_no_plugin_is_refused_as_a_file_and_as_a_component() {
    for (name, bytes) in samples::others() {
        assert!(!compile_and_ask(&bytes), "{name} was asked");
        component(&bytes);
    }
    component(b"");
    component(b"\x7fELF");
}
