//! Sequenced-packet socket pairs between PID 1 and its workers, with descriptor passing.
//!
//! Never blocks: every channel is made with `SOCK_NONBLOCK`, so a full or empty one is [`io::ErrorKind::WouldBlock`].

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors that travel with one packet; more in a received packet are closed by the kernel. A plugin's component and the sixteen
/// files and directories a plan may grant it need seventeen.
pub const MAX_DESCRIPTORS: usize = 17;

/// One end of a packet channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// One received packet.
#[derive(Debug)]
pub struct Packet {
    /// Bytes written to the buffer. Zero means that the peer is gone.
    pub len: usize,
    /// Descriptors that came along, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Both ends of a new channel, close-on-exec and non-blocking.
    ///
    /// **Source:** socketpair(2), unix(7).
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (left, right) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Channel { socket: left }, Channel { socket: right }))
    }

    /// The channel behind an inherited descriptor, which must be one end of a [`Channel::pair`].
    #[must_use]
    pub fn from_descriptor(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// Sends one packet.
    ///
    /// **Errors:** `WouldBlock` when the peer does not keep up, `BrokenPipe` or `ConnectionReset` when it is gone.
    ///
    /// **Source:** sendmsg(2), cmsg(3).
    pub fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
        }
        sendmsg(&self.socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Receives one packet into `buffer`.
    ///
    /// **Errors:** `WouldBlock` when there is none, `InvalidData` when it did not fit.
    ///
    /// **Source:** recvmsg(2), cmsg(3).
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        let mut descriptors = Vec::new();
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = item {
                descriptors.extend(rights);
            }
        }
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "packet longer than the buffer"));
        }
        Ok(Packet { len: message.bytes, descriptors })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> OwnedFd {
        channel.socket
    }
}

#[cfg(test)]
mod tests {
    use super::Channel;
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn packets_stay_apart_and_carry_descriptors() -> io::Result<()> {
        let (left, right) = Channel::pair()?;
        let (mut reader, writer) = io::pipe()?;
        left.send(b"one", &[writer.as_fd()])?;
        left.send(b"two", &[])?;
        drop(writer);
        let mut buffer = [0; 16];
        let mut packet = right.receive(&mut buffer)?;
        assert_eq!(buffer.get(..packet.len), Some(&b"one"[..]));
        let passed = packet.descriptors.pop().ok_or(io::ErrorKind::NotFound)?;
        std::fs::File::from(passed).write_all(b"hello")?;
        let mut said = String::new();
        reader.read_to_string(&mut said)?;
        assert_eq!(said, "hello");
        assert_eq!(right.receive(&mut buffer)?.len, 3);
        assert_eq!(right.receive(&mut buffer).map_err(|e| e.kind()).err(), Some(io::ErrorKind::WouldBlock));
        drop(left);
        assert_eq!(right.receive(&mut buffer)?.len, 0);
        Ok(())
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error_not_a_prefix() -> io::Result<()> {
        let (left, right) = Channel::pair()?;
        left.send(b"longer than that", &[])?;
        assert_eq!(right.receive(&mut [0; 4]).map_err(|e| e.kind()).err(), Some(io::ErrorKind::InvalidData));
        Ok(())
    }
}
