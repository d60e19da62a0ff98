//! The saved registers of the running task's system call.

use super::{
    field::{View, address_of, is_there, offset},
    maps::REGISTERS,
    task::Task,
};
use crate::CASTS;

/// They stand at the end of the task's kernel stack, whole while a system call runs.
#[derive(Clone, Copy)]
pub(crate) struct Registers(*const u64);

impl Registers {
    /// Those of the running task. In every task they are as far from the beginning of its stack
    /// (arch/x86/include/asm/processor.h, `task_pt_regs`, and its like): the helper is asked once, then an addition does.
    #[inline(always)]
    pub(crate) fn of<const TYPED: bool>(task: Task<TYPED>) -> Self {
        if !CASTS || is_there(offset!(task_registers)) {
            return Self(task.registers());
        }
        if distance() == 0 {
            learn_distance();
        }
        Self((task.stack() + distance()) as *const u64)
    }

    /// One of them, by its place in words.
    #[inline(always)]
    pub(crate) fn at(self, word: usize) -> u64 {
        if CASTS {
            return View::of(self.0 as u64).at(word * size_of::<u64>());
        }
        // SAFETY: within the registers, which are whole. Volatile: what was read once and is known since, the verifier would
        // follow separately from then on.
        unsafe { self.0.add(word).read_volatile() }
    }
}

#[inline(always)]
fn distance() -> u64 {
    // SAFETY: the array's only element, always written whole; volatile, since it is learned in between.
    REGISTERS.get_ptr(0).map_or(0, |distance| unsafe { distance.read_volatile() })
}

#[inline(never)]
fn learn_distance() {
    let task = Task::current();
    if let Some(distance) = REGISTERS.get_ptr_mut(0) {
        // SAFETY: as above; whoever learns it at the same time writes the same.
        unsafe { distance.write_volatile(address_of(task.registers()) - task.stack()) };
    }
}
