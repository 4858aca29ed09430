//! Never comes back.

use hilum_plugin::Host;

use super::Tried;
use crate::given::Given;

pub(super) fn attempt(_: &Given, _: &impl Host) -> Tried {
    spin()
}

/// For ever.
pub(crate) fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
