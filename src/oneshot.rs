//! A channel for one value, or for the news that its sender was dropped. The channels of the standard library queue many
//! values; each type that goes through them adds 15 KB to the program.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Returns the two ends of a new channel.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State { value: None, is_ended: false }), changed: Condvar::new() });
    (Sender(Arc::clone(&slot)), Receiver(slot))
}

/// The end that sends, at most once.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Slot<T>>);

/// The end that receives.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// The value that was sent and not received yet.
    value: Option<T>,
    /// One end was dropped.
    is_ended: bool,
}

/// Why [`Receiver::recv_timeout`] returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The sender was dropped.
    Ended,
    /// The time has passed.
    TimedOut,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_one();
    }
}

impl<T> Sender<T> {
    /// Sends the value; gives it back if the receiver was dropped.
    pub(crate) fn send(&self, value: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if state.is_ended {
            return Err(value);
        }
        state.value = Some(value);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Blocks until the value arrives; returns `None` if the sender was dropped without one.
    pub(crate) fn recv(&self) -> Option<T> {
        let waits = |state: &mut State<T>| state.value.is_none() && !state.is_ended;
        self.0.changed.wait_while(self.0.lock(), waits).unwrap_or_else(PoisonError::into_inner).value.take()
    }

    /// Blocks likewise, but for at most `timeout`.
    ///
    /// # Errors
    /// [`NoValue::Ended`] if the sender was dropped without a value, [`NoValue::TimedOut`] if neither happened in time.
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, NoValue> {
        let waits = |state: &mut State<T>| state.value.is_none() && !state.is_ended;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), timeout, waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let missing = if state.is_ended { NoValue::Ended } else { NoValue::TimedOut };
        state.value.take().ok_or(missing)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_value_is_received_before_or_after_its_sender_is_dropped() {
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            scope.spawn(move || sender.send("one"));
            assert_eq!(receiver.recv(), Some("one"));
        });
        assert_eq!((receiver.recv(), receiver.recv_timeout(Duration::ZERO)), (None, Err(NoValue::Ended)));
        let (sender, receiver) = channel();
        assert_eq!(sender.send(1), Ok(()));
        drop(sender);
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
    }

    #[test]
    fn a_dropped_end_is_noticed_by_the_other() {
        let (sender, receiver) = channel::<()>();
        assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(NoValue::TimedOut));
        thread::scope(|scope| {
            scope.spawn(move || drop(sender));
            assert_eq!(receiver.recv(), None);
        });
        let (sender, receiver) = channel();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
    }
}
