//! An array of elements that own memory, each of which an image shares by itself.

use std::sync::Arc;

use super::{Paged, PagedImage, RICH};

/// Memory of the counts in front of a shared element, in bytes.
const COUNTS: usize = 2 * size_of::<usize>();

/// Elements addressed by a dense id. One that nobody has written to is a pointer to nothing.
///
/// The first write to an element that an image still reads copies that element and no other one:
/// where each owns lists and tables, a page of neighbours would be far dearer than what changes.
#[derive(Debug)]
pub struct Cells<T> {
    cells: Paged<Option<Arc<T>>, RICH>,
    /// How many there are.
    len: usize,
}

/// The elements as they were when an image was taken.
#[derive(Debug)]
pub struct CellsImage<T>(PagedImage<Option<Arc<T>>, RICH>);

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self {
            cells: Paged::new(),
            len: 0,
        }
    }
}

impl<T: Default + Clone> Cells<T> {
    /// No elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many ids there is room for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// The element of an id, if it was written to.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        self.cells.get(id)?.as_deref()
    }

    /// The element of an id; one that was not there begins as the default.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut T {
        let cell = self.cells.get_mut(id);
        if cell.is_none() {
            self.len += 1;
        }
        Arc::make_mut(cell.get_or_insert_default())
    }

    /// Takes the element of an id away; the default if there is none.
    pub fn take(&mut self, id: u32) -> T {
        if self.get(id).is_none() {
            return T::default();
        }
        self.len -= 1;
        let cell = self.cells.get_mut(id).take();
        cell.map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// All elements with their ids, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        present(self.cells.iter())
    }

    /// The same, to change them: those that an image reads are copied.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let cells = self.cells.iter_mut();
        cells.filter_map(|cell| cell.as_mut().map(Arc::make_mut))
    }

    /// Memory of the elements in bytes, without what they point to, and without those that only an
    /// image still has.
    pub fn bytes(&self) -> usize {
        self.cells.bytes() + self.len * (size_of::<T>() + COUNTS)
    }

    /// The elements as they are now. Nothing is copied before they change.
    pub fn image(&mut self) -> CellsImage<T> {
        CellsImage(self.cells.image())
    }
}

impl<T> CellsImage<T> {
    /// How many ids there was room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The element of an id, if it had been written to.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        self.0.get(id)?.as_deref()
    }

    /// All elements with their ids, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        present(self.0.iter())
    }
}

/// The elements that there are.
fn present<'a, T: 'a>(
    cells: impl Iterator<Item = &'a Option<Arc<T>>>,
) -> impl Iterator<Item = (u32, &'a T)> {
    (0..)
        .zip(cells)
        .filter_map(|(id, cell)| Some((id, cell.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static COPIES: Cell<usize> = const { Cell::new(0) };
    }

    /// An element that counts how often one is copied.
    #[derive(Debug, Default, PartialEq)]
    struct Counted(u32);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            COPIES.set(COPIES.get() + 1);
            Self(self.0)
        }
    }

    #[test]
    fn a_write_beside_an_image_copies_what_it_changes_and_nothing_else() {
        let mut cells = Cells::new();
        for id in 0..200 {
            *cells.get_mut(id) = Counted(id);
        }
        let image = cells.image();
        assert_eq!(COPIES.get(), 0);
        for id in [3, 3, 150] {
            cells.get_mut(id).0 += 1_000;
        }
        assert_eq!(COPIES.get(), 2);
        assert_eq!(cells.take(4), Counted(4));
        let then: Vec<u32> = image.iter().map(|(_, cell)| cell.0).collect();
        assert_eq!(then, (0..200).collect::<Vec<_>>());
        assert_eq!(cells.get(3), Some(&Counted(2_003)));
        assert_eq!((cells.get(4), image.get(4)), (None, Some(&Counted(4))));
    }

    #[test]
    fn a_write_behind_an_image_copies_nothing() {
        let mut cells = Cells::new();
        *cells.get_mut(5) = Counted(5);
        drop(cells.image());
        cells.get_mut(5).0 = 6;
        assert_eq!((COPIES.get(), cells.take(5)), (0, Counted(6)));
    }

    #[test]
    fn memory_is_counted_while_an_element_is_there() {
        let mut cells = Cells::<[u64; 32]>::new();
        let empty = cells.bytes();
        cells.get_mut(63);
        let page = cells.bytes() - empty;
        cells.get_mut(62);
        assert_eq!(cells.bytes() - empty - page, 32 * 8 + COUNTS);
        cells.take(62);
        cells.take(62);
        assert_eq!(cells.bytes() - empty, page);
    }
}
