//! Inputs written by hand: calls by name, so that they mean the same when a function is added to `wit/`.

use super::{Place, guest};

/// An input, call by call.
#[derive(Clone, Default, Debug)]
pub struct Script(pub Vec<u8>);

/// One argument, as the guest reads it.
#[derive(Clone, Debug)]
pub enum Argument {
    /// 0 to 255.
    Small(u8),
    /// Any word.
    Any(u32),
    /// Where these bytes are.
    Bytes(Vec<u8>),
    /// The length of the last text.
    Length,
    /// A word that came back; 0 is the handle or pointer of the last call that succeeded.
    Former(u8),
    /// Where this text is, with these bytes after it.
    Text(Place, Vec<u8>),
    /// Where these words are.
    List(Vec<Argument>),
    /// One of the numbers the guest knows, by its place in their list.
    Number(u8),
    /// 64 bits, or a floating-point number by its bits.
    Wide(u64),
    /// Where the result is to be put: where there is room for it.
    Result,
}

impl Argument {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Argument::Small(number) => to.extend([0, *number]),
            Argument::Any(number) => {
                to.push(1);
                to.extend(number.to_le_bytes());
            }
            Argument::Bytes(bytes) => {
                to.push(2);
                text(bytes, to);
            }
            Argument::Length => to.push(3),
            Argument::Former(which) => to.extend([4, *which]),
            Argument::Text(place, bytes) => {
                to.extend([5, *place as u8]);
                text(bytes, to);
            }
            Argument::List(arguments) => {
                to.extend([6, u8::try_from(arguments.len()).expect("a list is too long")]);
                arguments.iter().for_each(|argument| argument.write(to));
            }
            Argument::Number(which) => to.extend([7, *which]),
            Argument::Wide(number) => {
                to.push(1);
                to.extend(number.to_le_bytes());
            }
            Argument::Result => to.push(0),
        }
    }
}

fn text(bytes: &[u8], to: &mut Vec<u8>) {
    to.push(u8::try_from(bytes.len()).expect("a text is too long"));
    to.extend_from_slice(bytes);
}

impl Script {
    /// Adds a call, `interface.function`.
    #[must_use]
    pub fn call(mut self, function: &str, arguments: &[Argument]) -> Script {
        let names = functions();
        let place = names.iter().position(|name| name == function);
        let place = place.unwrap_or_else(|| panic!("no function {function}; there are {}", names.join(", ")));
        self.0.push(u8::try_from(place).expect("there are more functions than a byte can name"));
        arguments.iter().for_each(|argument| argument.write(&mut self.0));
        self
    }

    /// Adds a change of how the guest gives memory to the host.
    #[must_use]
    pub fn giving(mut self, how: u8) -> Script {
        self.0.extend([u8::try_from(functions().len()).expect("there are more functions than a byte can name"), how]);
        self
    }
}

/// What can be called, in the order of its numbers.
pub fn functions() -> Vec<String> {
    guest::World::read().imports.iter().map(guest::Import::full_name).collect()
}
