//! An array that grows page by page, so that growth never copies what is there, and whose pages an
//! image may share.

mod cells;
mod page;

pub use cells::{Cells, CellsImage};
pub use page::{Frozen, Page};

/// Elements of a page, as a power of two, where copying an element is cheap.
pub const PLAIN: u32 = 9;
/// The same where an element owns memory of its own: the first write to a page that an image
/// reads copies few of them.
pub const RICH: u32 = 6;

/// Elements addressed by a dense id, `1 << SHIFT` of them on a page. Ids beyond what has been grown
/// read as the default.
#[derive(Debug, Default)]
pub struct Paged<T, const SHIFT: u32 = PLAIN> {
    pages: Vec<Page<T>>,
}

/// The elements as they were when an image was taken.
#[derive(Debug, Clone)]
pub struct PagedImage<T, const SHIFT: u32 = PLAIN> {
    pages: Vec<Frozen<T>>,
}

impl<T: Default + Clone, const SHIFT: u32> Paged<T, SHIFT> {
    const PAGE: usize = 1 << SHIFT;

    /// No elements.
    pub fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// Makes room for all ids below `len`.
    #[inline]
    pub fn grow_to(&mut self, len: usize) {
        while self.capacity() < len {
            let page = (0..Self::PAGE).map(|_| T::default()).collect();
            self.pages.push(Page::new(page));
        }
    }

    /// How many ids there is room for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.pages.len() << SHIFT
    }

    /// The element of an id, if it has been grown to.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        let page = self.pages.get(id as usize >> SHIFT)?;
        Some(&page.get()[id as usize & (Self::PAGE - 1)])
    }

    /// The element of an id; grows to it.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut T {
        if id as usize >= self.capacity() {
            self.grow_to(id as usize + 1);
        }
        &mut self.pages[id as usize >> SHIFT].get_mut()[id as usize & (Self::PAGE - 1)]
    }

    /// All elements that there is room for, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.get())
    }

    /// The same, to change them: pages that an image reads are copied.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flat_map(Page::get_mut)
    }

    /// Memory of the pages in bytes, without what the elements point to, and without the pages
    /// that only an image still has.
    pub fn bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.pages.capacity() * size_of::<Page<T>>()
    }

    /// The elements as they are now. Nothing is copied before they change.
    pub fn image(&mut self) -> PagedImage<T, SHIFT> {
        PagedImage {
            pages: self.pages.iter_mut().map(Page::freeze).collect(),
        }
    }
}

impl<T, const SHIFT: u32> PagedImage<T, SHIFT> {
    /// How many ids there was room for.
    pub fn capacity(&self) -> usize {
        self.pages.len() << SHIFT
    }

    /// All elements, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// The element of an id, if it had been grown to.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        let page = self.pages.get(id as usize >> SHIFT)?;
        Some(&page[id as usize & ((1 << SHIFT) - 1)])
    }
}
