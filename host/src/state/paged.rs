//! An array that grows page by page, so that growth never copies what is there.

/// Elements of one page.
const PAGE: usize = 1 << PAGE_SHIFT;
const PAGE_SHIFT: u32 = 12;

/// Elements addressed by a dense id. Ids beyond what has been grown read as the default.
#[derive(Debug, Default)]
pub struct Paged<T> {
    pages: Vec<Box<[T]>>,
}

impl<T: Default> Paged<T> {
    /// No elements.
    pub fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// Makes room for all ids below `len`.
    #[inline]
    pub fn grow_to(&mut self, len: usize) {
        while self.capacity() < len {
            self.pages.push((0..PAGE).map(|_| T::default()).collect());
        }
    }

    /// How many ids there is room for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.pages.len() << PAGE_SHIFT
    }

    /// The element of an id, if it has been grown to.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        let page = self.pages.get(id as usize >> PAGE_SHIFT)?;
        Some(&page[id as usize & (PAGE - 1)])
    }

    /// The element of an id; grows to it.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut T {
        if id as usize >= self.capacity() {
            self.grow_to(id as usize + 1);
        }
        &mut self.pages[id as usize >> PAGE_SHIFT][id as usize & (PAGE - 1)]
    }

    /// Memory of the pages in bytes, without what the elements point to.
    pub fn bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.pages.capacity() * size_of::<Box<[T]>>()
    }
}
