//! A point where threads meet to exchange something.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A meeting of a fixed number of members. Each brings a piece, and all leave with the same result.
pub(super) struct Meeting<P, R> {
    state: Mutex<State<P, R>>,
    changed: Condvar,
}

struct State<P, R> {
    /// The piece of each member that has come.
    pieces: Vec<Option<P>>,
    /// The result, until all members have taken it.
    result: Option<Arc<R>>,
    /// Members that have not taken the result yet.
    staying: usize,
    /// Why the meeting cannot take place any more.
    broken: Option<String>,
}

impl<P, R> Meeting<P, R> {
    pub(super) fn of(members: usize) -> Self {
        Self {
            state: Mutex::new(State {
                pieces: (0..members).map(|_| None).collect(),
                result: None,
                staying: 0,
                broken: None,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<P, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<P, R>>) -> MutexGuard<'a, State<P, R>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all members have come. The last one combines the pieces, which are in the order of the members.
    ///
    /// # Errors
    /// The reason, if the meeting was [broken](Self::break_up).
    pub(super) fn meet(
        &self,
        member: usize,
        piece: P,
        combine: impl FnOnce(Vec<P>) -> R,
    ) -> Result<Arc<R>, String> {
        let mut state = self.lock();
        // The members of the meeting before leave first.
        while state.staying > 0 && state.broken.is_none() {
            state = self.wait(state);
        }
        state.pieces[member] = Some(piece);
        if state.pieces.iter().all(Option::is_some) {
            let pieces = state.pieces.iter_mut().filter_map(Option::take).collect();
            drop(state);
            let result = Arc::new(combine(pieces));
            state = self.lock();
            (state.result, state.staying) = (Some(result), state.pieces.len());
            self.changed.notify_all();
        }
        loop {
            if let Some(reason) = &state.broken {
                return Err(reason.clone());
            }
            if let Some(result) = state.result.clone() {
                state.staying -= 1;
                if state.staying == 0 {
                    state.result = None;
                    self.changed.notify_all();
                }
                return Ok(result);
            }
            state = self.wait(state);
        }
    }

    /// Ends the meeting for all members, those that come later included.
    pub(super) fn break_up(&self, reason: &str) {
        self.lock().broken.get_or_insert_with(|| reason.into());
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn members_meet_again_and_again_and_get_the_pieces_in_order() {
        let meeting = &Meeting::of(3);
        thread::scope(|scope| {
            for member in 0..3 {
                scope.spawn(move || {
                    for round in 0..200 {
                        let all = meeting.meet(member, 10 * round + member, |pieces| pieces);
                        let first = 10 * round;
                        assert_eq!(*all.unwrap(), [first, first + 1, first + 2]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_broken_meeting_ends_for_those_who_wait_and_those_who_come() {
        let meeting = &Meeting::of(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(move || meeting.meet(0, (), |_| ()).unwrap_err());
            meeting.break_up("one is ill");
            assert_eq!(waiting.join().unwrap(), "one is ill");
        });
        assert!(meeting.meet(1, (), |_| ()).is_err());
    }
}
