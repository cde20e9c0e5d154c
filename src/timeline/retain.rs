//! Memory: settled connections are kept up to a number, then the oldest go.
//!
//! The trap: a connection in TIME_WAIT is settled and may be dropped while the kernel still has
//! its mini-socket. Its end is then not reported, and what a source says of it later must not
//! make it a new connection.

use crate::timeline::{ConnId, EndRef, Tracker};

impl Tracker {
    /// Keeps this connection for somebody who looks at it, however many newer ones are settled; the one
    /// that was held before goes with the others.
    pub const fn hold(&mut self, id: Option<ConnId>) {
        self.held = id;
    }

    /// Forgets the oldest settled connections beyond what is to be kept.
    pub(super) fn retire_settled(&mut self) {
        while self.settled.len() > self.retention {
            let Some(id) = self.settled.pop_front() else {
                return;
            };
            if self.held == Some(id) {
                // Its turn comes again.
                self.settled.push_back(id);
                if self.settled.len() == 1 {
                    return;
                }
                continue;
            }
            self.forget(id);
            self.totals.dropped += 1;
        }
    }

    fn forget(&mut self, id: ConnId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let ours = |end: Option<&EndRef>| end.is_some_and(|end| end.conn == id);
        for (_, track) in connection.visible() {
            let tuple = (track.id().scope, *track.tuple());
            if ours(self.by_tuple.get(&tuple)) {
                self.by_tuple.remove(&tuple);
            }
            if let Some(cookie) = track.id().cookie {
                let name = (track.id().scope, cookie);
                if ours(self.by_cookie.get(&name)) {
                    self.by_cookie.remove(&name);
                }
            }
        }
        if let Some(retired) = &mut self.retired {
            retired.push(connection);
        }
    }
}
