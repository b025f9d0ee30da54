//! A page of a column, which an image of the column may share.

use std::sync::Arc;

/// Elements that belong to the column alone, or that an image reads as well. To take an image
/// copies nothing; the first write to a page that an image still reads copies that page.
#[derive(Debug)]
pub enum Page<T> {
    /// The column's own.
    Own(Box<[T]>),
    /// Frozen: what an image reads must not change.
    Frozen(Frozen<T>),
}

/// A page as an image has it.
pub type Frozen<T> = Arc<Box<[T]>>;

impl<T: Clone> Page<T> {
    /// Of these elements.
    pub fn new(elements: Box<[T]>) -> Self {
        Self::Own(elements)
    }

    /// The elements, to read.
    #[inline]
    pub fn get(&self) -> &[T] {
        match self {
            Self::Own(elements) => elements,
            Self::Frozen(elements) => elements,
        }
    }

    /// The elements, to write.
    #[inline]
    pub fn get_mut(&mut self) -> &mut [T] {
        if let Self::Frozen(_) = self {
            self.thaw();
        }
        match self {
            Self::Own(elements) => elements,
            Self::Frozen(_) => unreachable!("it has been thawed"),
        }
    }

    /// Freezes the page and gives it to an image.
    pub fn freeze(&mut self) -> Frozen<T> {
        if let Self::Own(elements) = self {
            *self = Self::Frozen(Arc::new(std::mem::take(elements)));
        }
        match self {
            Self::Frozen(elements) => elements.clone(),
            Self::Own(_) => unreachable!("it has been frozen"),
        }
    }

    /// Takes the page back if no image reads it any more, or copies it.
    #[cold]
    fn thaw(&mut self) {
        let Self::Frozen(frozen) = std::mem::replace(self, Self::Own(Box::default())) else {
            return;
        };
        let elements = Arc::try_unwrap(frozen);
        *self = Self::Own(elements.unwrap_or_else(|shared| (*shared).clone()));
    }
}
