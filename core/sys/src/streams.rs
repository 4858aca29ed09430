//! Standard streams for a process that was started without: the init of a machine without a console, a child of somebody careless.
//!
//! A descriptor that is opened later must not become number 0, 1 or 2 by chance. The standard library sees to that before `main`, with
//! `/dev/null`, and aborts where there is none. So what is missing is filled in before it looks: nothing to read, nobody who reads.

use libc::c_int;

/// Run by the C library before the standard library starts.
#[used]
// SAFETY: the section holds pointers to functions that the C library calls once, on the only thread; this is one, and returns.
#[unsafe(link_section = ".init_array")]
static FILL_IN: extern "C" fn() = fill_in;

extern "C" fn fill_in() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: poll(2) reads and writes three entries, which are there; the time-out is zero.
    let ready = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    if ready <= 0 {
        return;
    }
    for stream in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        // SAFETY: open(2) reads a string that ends. It returns the lowest free number, which is this one: those below are there by now.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } < 0 {
            substitute(stream.fd);
        }
    }
}

/// Makes `number` one end of a pipe without the other.
fn substitute(number: c_int) {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: pipe(2) writes two numbers.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
        return;
    }
    let [reader, writer] = ends;
    let kept = if number == 0 { reader } else { writer };
    // SAFETY: both are ours; `number` is free or one of the two.
    unsafe { libc::dup2(kept, number) };
    for end in ends.into_iter().filter(|end| *end != number) {
        // SAFETY: it is ours and used no more.
        unsafe { libc::close(end) };
    }
}
