//! How the kernel's counts for each socket become the slots' counters.

use crate::event::{Counter, MemberCount};

use super::{Groups, Pick, Reading, Seat, SlotCounts, reading::FlowMemory, window::Trust};

/// What of a counter a slot has already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    selections: u64,
    /// As last told
    flows: u64,
    /// Where the socket sat last
    seat: Seat,
}

impl Groups {
    /// Takes in counts of sockets, all or some. Gives the counters whose flows the kernel must count anew from now on: those
    /// of the members of groups whose window begins.
    ///
    /// Counts are totals of each counter since the daemon started; what is new since the last reading goes to the slot
    /// the socket sits in, or sat in last. A socket that is no member yet keeps its total until it is one, and one that
    /// got its cookie while it was counted has two that go to one slot. A reading need not be whole: a counter that it
    /// lacks is as it was.
    #[must_use = "the kernel would go on counting the flows of the last window"]
    pub fn count(&mut self, counts: &[MemberCount], reading: Reading) -> Vec<Counter> {
        for count in counts {
            self.settle(count, reading);
        }
        let mut turned = Vec::new();
        self.flow_horizon = 0;
        for group in self.groups.values_mut().filter(|group| group.is_live()) {
            group.windows.read(reading);
            group.turn_window(reading, &mut turned);
            self.flow_horizon = self.flow_horizon.max(group.flow_horizon().unwrap_or(0));
        }
        self.awaits_reading = false;
        self.flows_read = reading.flows;
        turned
    }

    /// Whether a reading is worth its cost before its regular time: what is selected until then goes into no window, or so
    /// many flows came that the last reading's would be all that can be trusted.
    #[must_use]
    pub fn wants_reading(&self, memory: Option<FlowMemory>) -> bool {
        let fills = |now: FlowMemory| {
            let before = self.flows_read.map_or(0, |memory| memory.entered);
            before < self.flow_horizon && now.entered.saturating_sub(before) >= now.trusted / 4
        };
        self.awaits_reading || memory.is_some_and(fills)
    }

    /// Forgets a counter whose last count was taken in: the kernel's map forgets it too, and would begin at 0. Whether
    /// any slot had its count; if not, nobody has.
    pub fn forget(&mut self, counter: Counter) -> bool {
        self.counted.remove(&counter).is_some()
    }

    fn settle(&mut self, count: &MemberCount, reading: Reading) {
        let known = self.counted.get(&count.counter).copied();
        let seated = self.seats.get(&count.inode).copied();
        let Some(seat) = seated.or(known.map(|counted| counted.seat)).or_else(|| self.left.seat(count.inode))
        else {
            return;
        };
        let (selections, flows) = known.map_or((0, 0), |counted| (counted.selections, counted.flows));
        let told = count.flows.unwrap_or(flows);
        let new_flows = grown(flows, told);
        self.counted.insert(count.counter, Counted { selections: count.selections, flows: told, seat });
        let Some(group) = self.groups.get_mut(&seat.key) else { return };
        group.windows.tell_flows(count.flows.is_some());
        let trust = if count.flows.is_some() { group.windows.trust(reading) } else { Trust::None };
        let new = SlotCounts {
            selections: grown(selections, count.selections),
            flows: if trust == Trust::Full { new_flows } else { 0 },
            untold: u64::from(trust == Trust::None),
            ..SlotCounts::default()
        };
        let Some(slot) = group.slot_mut(seat.slot) else { return };
        slot.counts.add(new);
        // A socket that left has its last selections in its slot, but the member there is another one.
        let Some(member) = slot.member.as_mut().filter(|_| seated.is_some()) else { return };
        member.select(count.counter, new.selections);
        if let Some(gauges) = &count.live {
            member.gauge(gauges, reading.at, &mut slot.counts);
            if let Some(facts) = &gauges.group {
                group.learn(Pick::of(facts));
            }
        }
    }
}

/// What is new of a total. A smaller one was counted from 0: the kernel's map had evicted the socket.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
