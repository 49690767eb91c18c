//! Which of two ways moves bytes faster here and now, found by trying them.
//!
//! Pure arithmetic on private numbers and on a clock that its caller reads. It does not know what a way means, and
//! it changes no outcome of any call, only the time it takes. Without a clock it stays with the first way.
//!
//! What is compared is the whole rate at which bytes come by, pieces of some KiB at a time: whoever is the slower
//! side, and whatever it waits for, is in it. The other way is taken when it is a tenth faster. In a trial it is left as
//! soon as it is seen to take twice the time, and after a trial that brought nothing the next one comes four times as
//! late; so an exchange of messages, or a stream that is at its best, is hardly ever disturbed.

/// How trials go; the same for the life of a [`Tuner`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    /// Bytes of a piece, over which the time is taken.
    pub(crate) piece: u64,
    /// Pieces that another way takes to show, not counted.
    pub(crate) settle: u32,
    /// Pieces that are counted in a trial.
    pub(crate) measure: u32,
    /// Pieces between two trials: at first, and at most.
    pub(crate) rest: (u32, u32),
}

/// What has been learnt, and what is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuner {
    habit: Habit,
    /// Whether the second way is the faster one, as far as is known; and whether the other one is being tried.
    second_is_best: bool,
    is_trying: bool,
    /// Ticks per KiB in the best way, a running mean; 0 while it is not known.
    cost: u64,
    /// When the present piece began, ticks; `None` until the clock was read.
    began: Option<u64>,
    /// Bytes of the present piece so far.
    moved: u64,
    /// Pieces since the last trial began or ended.
    pieces: u32,
    /// Ticks per KiB, added up over the counted pieces of a trial.
    trial_cost: u64,
    /// Pieces to wait before the next trial.
    rest: u32,
}

impl Tuner {
    pub(crate) const fn new(habit: Habit) -> Self {
        Tuner {
            habit,
            second_is_best: false,
            is_trying: false,
            cost: 0,
            began: None,
            moved: 0,
            pieces: 0,
            trial_cost: 0,
            rest: habit.rest.0,
        }
    }

    /// Whether to go the second way now.
    #[inline(always)]
    pub(crate) fn is_second(&self) -> bool {
        self.second_is_best != self.is_trying
    }

    /// Whether the way that is not the best one is being tried.
    #[inline(always)]
    pub(crate) fn is_trying(&self) -> bool {
        self.is_trying
    }

    /// Counts bytes that came by; reads the clock at the end of a piece, and in a trial each time. `differ`: whether they
    /// went the way that was chosen; no trial begins after others. Tells whether the other way has become the best one.
    pub(crate) fn count(&mut self, bytes: u64, differ: bool, clock: impl FnOnce() -> Option<u64>) -> bool {
        let best = self.second_is_best;
        self.take(bytes, differ, clock);
        self.second_is_best != best
    }

    fn take(&mut self, bytes: u64, differ: bool, clock: impl FnOnce() -> Option<u64>) {
        self.moved += bytes;
        let whole = self.moved >= self.habit.piece;
        if !whole && !self.is_trying && self.began.is_some() {
            return;
        }
        let Some(now) = clock() else { return };
        let Some(began) = self.began else { return self.begin_piece(now) };
        let took = now.saturating_sub(began);
        if whole {
            let cost = ((took << 10) / self.moved.max(1)).max(1);
            self.begin_piece(now);
            if self.is_trying { self.after_tried_piece(cost) } else { self.after_usual_piece(cost, differ) }
        } else if took > self.cost.saturating_mul(self.habit.piece >> 9) {
            // A trial that has taken twice the time of a whole piece already is over.
            self.end_trial();
            self.begin_piece(now);
        }
    }

    /// Begins the present piece anew: what goes on is not to be counted.
    pub(crate) fn interrupt(&mut self) {
        self.began = None;
    }

    fn begin_piece(&mut self, now: u64) {
        self.began = Some(now);
        self.moved = 0;
    }

    fn after_usual_piece(&mut self, cost: u64, differ: bool) {
        // An interruption of this process is one long piece: it counts as twice the mean at most.
        self.cost = if self.cost == 0 { cost } else { (self.cost * 7 + cost.min(self.cost * 2)).div_ceil(8) };
        self.pieces = self.pieces.saturating_add(1);
        if differ && self.pieces >= self.rest {
            self.is_trying = true;
            self.pieces = 0;
            self.trial_cost = 0;
        }
    }

    fn after_tried_piece(&mut self, cost: u64) {
        if cost > self.cost.saturating_mul(2) {
            return self.end_trial();
        }
        self.pieces += 1;
        if self.pieces <= self.habit.settle {
            return;
        }
        self.trial_cost += cost;
        if self.pieces < self.habit.settle + self.habit.measure {
            return;
        }
        let tried = self.trial_cost / u64::from(self.habit.measure);
        if tried.saturating_mul(10) >= self.cost.saturating_mul(9) {
            return self.end_trial();
        }
        self.second_is_best = !self.second_is_best;
        self.is_trying = false;
        self.cost = tried;
        self.pieces = 0;
        // Two ways that are as good as each other change places now and then: that is no news.
        self.rest = (self.rest / 2).max(self.habit.rest.0);
    }

    fn end_trial(&mut self) {
        self.is_trying = false;
        self.pieces = 0;
        self.rest = (self.rest * 4).min(self.habit.rest.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const HABIT: Habit = Habit { piece: 1024, settle: 1, measure: 2, rest: (4, 64) };

    /// Moves `kib` KiB, message by message, where each way takes its number of ticks per KiB; tells how many of
    /// them went by in each.
    fn run(tuner: &mut Tuner, now: &Cell<u64>, ticks: [u64; 2], kib: u64) -> [u64; 2] {
        let mut with = [0; 2];
        for _ in 0..kib * 16 {
            let way = usize::from(tuner.is_second());
            with[way] += 1;
            now.set(now.get() + ticks[way] / 16);
            tuner.count(64, true, || Some(now.get()));
        }
        with.map(|count| count / 16)
    }

    #[test]
    fn the_faster_way_is_found_and_kept() {
        for faster in 0..2 {
            let (mut tuner, now) = (Tuner::new(HABIT), Cell::new(0));
            let mut ticks = [3200; 2];
            ticks[faster] = 1600;
            run(&mut tuner, &now, ticks, 100);
            assert_eq!(usize::from(tuner.second_is_best), faster);
            let with = run(&mut tuner, &now, ticks, 2000);
            assert!(with[faster] > 1900, "{with:?}");
        }
    }

    #[test]
    fn a_change_of_the_machine_is_followed() {
        let (mut tuner, now) = (Tuner::new(HABIT), Cell::new(0));
        run(&mut tuner, &now, [1600, 3200], 500);
        assert!(!tuner.second_is_best);
        run(&mut tuner, &now, [16000, 3200], 500);
        assert!(tuner.second_is_best);
    }

    #[test]
    fn equal_ways_are_left_alone() {
        let (mut tuner, now) = (Tuner::new(HABIT), Cell::new(0));
        let with = run(&mut tuner, &now, [1600, 1500], 4000);
        assert!(!tuner.second_is_best, "less than a tenth is no reason");
        assert!(with[1] < 400, "and trials become rare: {with:?}");
    }

    #[test]
    fn a_bad_trial_ends_within_the_piece() {
        let (mut tuner, mut now) = (Tuner::new(HABIT), 0);
        let mut message = |ticks: u64| {
            now += ticks;
            tuner.count(64, true, || Some(now));
            tuner.is_trying()
        };
        // A sixteenth of a piece each, up to the very first moment of a trial.
        while !message(100) {}
        assert!(message(1000) && message(1000) && message(1000), "not yet twice the time of a piece");
        assert!(!message(1000), "that is seen at once, and not at the end of the piece");
    }

    #[test]
    fn nothing_is_tried_with_what_goes_the_same_way_anyhow() {
        let (mut tuner, mut now) = (Tuner::new(HABIT), 0);
        let mut message = |differ: bool| {
            now += 100;
            tuner.count(64, differ, || Some(now));
            tuner.is_trying()
        };
        assert!((0..10_000).all(|_| !message(false)));
        assert!((0..100).any(|_| message(true)), "that is made up for later");
    }

    #[test]
    fn without_a_clock_nothing_is_tried() {
        let mut tuner = Tuner::new(HABIT);
        for _ in 0..10_000 {
            tuner.count(4096, true, || None);
            assert!(!tuner.is_second());
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_does_no_harm() {
        let (mut tuner, mut now) = (Tuner::new(HABIT), u64::MAX);
        for step in 0..10_000_u64 {
            now = if step % 3 == 0 { now } else { now.wrapping_sub(step << 50) };
            tuner.count((step * step) << 20, true, || Some(now));
        }
    }

    #[test]
    fn an_interruption_is_not_taken_for_a_slow_setting() {
        let (mut tuner, now) = (Tuner::new(HABIT), Cell::new(0));
        run(&mut tuner, &now, [1600, 1600], 50);
        let settled = tuner.cost;
        now.set(now.get() + 1_000_000_000);
        run(&mut tuner, &now, [1600, 1600], 3);
        assert!(tuner.cost < settled * 5 / 4, "{} after {settled}", tuner.cost);
    }
}
