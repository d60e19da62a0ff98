//! Who is who among sockets that look alike: an assignment that leaves out as few as it can.

/// Assigns to each place one of those that fit it, the first ones first. `fits` has the places that each of them fits.
pub(super) fn assign(fits: &[Vec<usize>], places: usize) -> Vec<Option<usize>> {
    let mut assigned = vec![None; places];
    for who in 0..fits.len() {
        settle(who, fits, &mut assigned, &mut vec![false; places]);
    }
    assigned
}

/// Finds a place for one, moving others to other places that fit them where that helps (an augmenting path).
fn settle(who: usize, fits: &[Vec<usize>], assigned: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for &place in fits.get(who).into_iter().flatten() {
        let (Some(holder), Some(tried_here)) = (assigned.get(place).copied(), tried.get_mut(place)) else {
            continue;
        };
        if std::mem::replace(tried_here, true) {
            continue;
        }
        if holder.is_none_or(|other| settle(other, fits, assigned, tried)) {
            if let Some(here) = assigned.get_mut(place) {
                *here = Some(who);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fits_two_places_makes_room_for_one_that_fits_one() {
        assert_eq!(assign(&[vec![0, 1], vec![0]], 2), [Some(1), Some(0)]);
    }

    #[test]
    fn the_first_ones_are_not_left_out() {
        assert_eq!(assign(&[vec![0], vec![0]], 2), [Some(0), None]);
    }
}
