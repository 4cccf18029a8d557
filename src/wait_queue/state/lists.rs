//! Entries in a slab, and lists whose links lie inside the entries: every change is O(1), and a place is used again.

use std::ops::{Index, IndexMut};

/// Entries with an index each. The memory of a removed entry is reused.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot; each free slot links to the next.
    free: u32,
}

#[derive(Debug)]
struct Slot<T> {
    links: [Links; 2],
    entry: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    previous: u32,
    next: u32,
}

/// A list of entries of one slab. An entry has two pairs of links, so it is in up to two lists: one per `LINK`.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const LINK: usize> {
    first: u32,
    last: u32,
    len: u32,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }

    pub(super) fn insert(&mut self, entry: T) -> u32 {
        let index = self.free;
        if index == NONE {
            let index = u32::try_from(self.slots.len()).expect("no process holds four billion calls");
            self.slots.push(Slot { links: [Links::NONE; 2], entry: Some(entry) });
            return index;
        }
        let slot = &mut self.slots[index as usize];
        self.free = slot.links[0].next;
        *slot = Slot { links: [Links::NONE; 2], entry: Some(entry) };
        index
    }

    /// Removes an entry that is in no list.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let slot = &mut self.slots[index as usize];
        slot.links[0].next = self.free;
        self.free = index;
        slot.entry.take().expect(IN_USE)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.entry.is_none())
    }

    fn links(&mut self, index: u32, link: usize) -> &mut Links {
        &mut self.slots[index as usize].links[link]
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.slots[index as usize].entry.as_ref().expect(IN_USE)
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.slots[index as usize].entry.as_mut().expect(IN_USE)
    }
}

impl<const LINK: usize> List<LINK> {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, len: 0 };

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    pub(super) fn push_back<T>(&mut self, slab: &mut Slab<T>, index: u32) {
        *slab.links(index, LINK) = Links { previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = index,
            last => slab.links(last, LINK).next = index,
        }
        self.last = index;
        self.len += 1;
    }

    /// Removes an entry that is in this list.
    pub(super) fn remove<T>(&mut self, slab: &mut Slab<T>, index: u32) {
        let Links { previous, next } = std::mem::replace(slab.links(index, LINK), Links::NONE);
        match previous {
            NONE => self.first = next,
            previous => slab.links(previous, LINK).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => slab.links(next, LINK).previous = previous,
        }
        self.len -= 1;
    }
}

impl Links {
    const NONE: Self = Self { previous: NONE, next: NONE };
}

/// No slot has this index.
const NONE: u32 = u32::MAX;
const IN_USE: &str = "an index is used from the insertion to the removal";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_leaves_each_of_its_lists_from_any_position() {
        for leaving in 0..3 {
            let mut slab = Slab::new();
            let (mut one, mut other) = (List::<0>::EMPTY, List::<1>::EMPTY);
            for entry in 0..3 {
                let index = slab.insert(entry);
                one.push_back(&mut slab, index);
                other.push_back(&mut slab, index);
            }
            one.remove(&mut slab, leaving);
            other.remove(&mut slab, leaving);
            assert_eq!(slab.remove(leaving), leaving);
            let mut rest = Vec::new();
            while let Some(first) = one.first() {
                one.remove(&mut slab, first);
                rest.push(slab[first]);
            }
            assert_eq!(rest, (0..3).filter(|entry| *entry != leaving).collect::<Vec<_>>());
            assert_eq!((one.len(), one.last(), other.len()), (0, None, 2));
            assert_eq!(slab.insert(7), leaving, "the memory is reused");
        }
    }
}
