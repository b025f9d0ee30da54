//! What can be wrong with a registry.

use crate::secret::SecretError;

/// Why a registry does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It does not answer.
    #[error(
        "the schema registry `{url}` was away for {waited}: {cause}; see that it runs and can be \
         reached from here, or say a longer `give-up-after`"
    )]
    Away {
        /// Its address.
        url: String,
        /// How long it was waited for.
        waited: String,
        /// What happened last.
        cause: String,
    },
    /// It does not know its user.
    #[error(
        "the schema registry `{url}` lets nobody in: it says {words}; say `user` and \
         `password: {{ env: NAME }}` beside its `url`, and see that they are right"
    )]
    Locked {
        /// Its address.
        url: String,
        /// What it says.
        words: String,
    },
    /// It answers what no registry would.
    #[error(
        "what answers at `{url}` is no schema registry: {what}; see that `url` is its address, \
         with the path of its interface if it has one"
    )]
    Stranger {
        /// Its address.
        url: String,
        /// What is strange.
        what: String,
    },
    /// It does not take a schema, for the sake of those who read the topic.
    #[error(
        "the schema of the rows cannot follow the one that `{subject}` has: the registry says \
         {words}; change the columns, choose another `subject`, or change the subject's \
         compatibility there"
    )]
    Incompatible {
        /// The subject.
        subject: String,
        /// What it says.
        words: String,
    },
    /// It does not have a schema that it shall have.
    #[error(
        "the schema of the rows is not under `{subject}`, and `register: false` adds none: the \
         registry says {words}; register it, or remove `register`. It is {text}"
    )]
    Missing {
        /// The subject.
        subject: String,
        /// What it says.
        words: String,
        /// The schema.
        text: String,
    },
    /// It refuses for another reason.
    #[error("the schema registry `{url}` refuses `{path}`: it says {words}")]
    Refused {
        /// Its address.
        url: String,
        /// What was asked.
        path: String,
        /// What it says.
        words: String,
    },
    /// The certificates are none.
    #[error("the certificates in `{path}` cannot be used: {reason}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The user is not to be found.
    #[error("the user of the schema registry is not known: {0}")]
    Secret(String),
    /// The job ended while the registry was away.
    #[error("the schema registry `{url}` was away when the job was stopped")]
    Stopped {
        /// Its address.
        url: String,
    },
    /// The system does not give what is needed.
    #[error("a schema registry cannot be asked: {0}")]
    System(String),
}

impl RegistryError {
    /// Whether the same would happen again if it was tried later.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Away { .. } | Self::Stopped { .. })
    }
}

impl From<SecretError> for RegistryError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error.to_string())
    }
}
