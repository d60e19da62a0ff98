//! How many series may still be given a label set of their own.

/// Series allowed and given.
#[derive(Debug, Default)]
pub(super) struct Budget {
    allowed: usize,
    taken: usize,
}

impl Budget {
    /// Sets what is allowed now. Series that were given stay given, also when that is less.
    pub(super) fn allow(&mut self, allowed: usize) {
        self.allowed = allowed;
    }

    /// Takes `series` if so many are left.
    pub(super) fn take(&mut self, series: usize) -> bool {
        let fits = self.taken + series <= self.allowed;
        if fits {
            self.taken += series;
        }
        fits
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, series: usize) {
        self.taken = self.taken.saturating_sub(series);
    }
}
