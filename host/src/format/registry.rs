//! Schema registries with the interface of Confluent's. One thread asks for everybody: slots wait
//! for its answers without being blocked, and a schema is fetched once.

mod client;
mod error;

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};
use wasmill_core::pipeline::document::RegistryDocument;

use crate::spawn;
use client::Client;

pub use error::RegistryError;

/// Questions that wait: one for each subtask that decodes is the rule.
const QUESTIONS_MAX: usize = 64;

/// What a registry has under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaText {
    /// `AVRO`, `PROTOBUF` or another one.
    pub language: String,
    /// The schema.
    pub text: String,
    /// Those that it refers to, each before those that need it: the name by which it is referred
    /// to, and its text.
    pub references: Vec<(String, String)>,
}

/// What is known of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its schema.
    Schema(Arc<SchemaText>),
    /// Why there is none.
    Nothing(String),
}

/// A schema that is to be written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Under which name its versions stand.
    pub subject: String,
    /// `AVRO` or `PROTOBUF`.
    pub language: &'static str,
    /// The schema.
    pub text: String,
    /// Whether it is added, if it is not there.
    pub add: bool,
}

/// A registry, for all that need it.
#[derive(Debug)]
pub struct Registry {
    url: String,
    questions: async_channel::Sender<Question>,
    stop: watch::Sender<bool>,
}

/// The newest version of a subject, if it has any.
type Newest = Result<Option<Arc<SchemaText>>, RegistryError>;

#[derive(Debug)]
enum Question {
    Schema(u32, oneshot::Sender<Result<Known, RegistryError>>),
    Register(Registration, oneshot::Sender<Result<u32, RegistryError>>),
    Latest(String, oneshot::Sender<Newest>),
}

impl Registry {
    /// Gets ready to ask; nothing is asked yet.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub fn open(document: &RegistryDocument) -> Result<Arc<Self>, RegistryError> {
        let (stop, stopped) = watch::channel(false);
        let (questions, asked) = async_channel::bounded(QUESTIONS_MAX);
        let client = Client::new(document, stopped)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| RegistryError::System(error.to_string()))?;
        let url = document.url.clone();
        spawn::thread("registry", move || runtime.block_on(answer(client, asked)));
        Ok(Arc::new(Self {
            url,
            questions,
            stop,
        }))
    }

    /// The schema of a number.
    ///
    /// # Errors
    /// If the registry is away for too long, or answers what no registry would.
    pub async fn schema(&self, number: u32) -> Result<Known, RegistryError> {
        self.ask(|reply| Question::Schema(number, reply)).await
    }

    /// The number of a schema.
    ///
    /// # Errors
    /// As for [`Registry::schema`], and if the registry does not take the schema.
    pub async fn register(&self, schema: Registration) -> Result<u32, RegistryError> {
        self.ask(|reply| Question::Register(schema, reply)).await
    }

    /// The newest version of a subject, if it has any.
    ///
    /// # Errors
    /// As for [`Registry::schema`].
    pub async fn latest(&self, subject: String) -> Result<Option<Arc<SchemaText>>, RegistryError> {
        self.ask(|reply| Question::Latest(subject, reply)).await
    }

    /// Whoever waits for a registry that is away waits no longer.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, RegistryError>>) -> Question,
    ) -> Result<T, RegistryError> {
        let (reply, answer) = oneshot::channel();
        let gone = || RegistryError::Stopped {
            url: self.url.clone(),
        };
        self.questions
            .send(question(reply))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Answers until nobody is left who could ask.
async fn answer(mut client: Client, questions: async_channel::Receiver<Question>) {
    while let Ok(question) = questions.recv().await {
        match question {
            Question::Schema(number, mut reply) => {
                tokio::select! {
                    answer = client.schema(number) => drop(reply.send(answer)),
                    () = reply.closed() => {}
                }
            }
            Question::Latest(subject, mut reply) => {
                tokio::select! {
                    answer = client.latest(&subject) => drop(reply.send(answer)),
                    () = reply.closed() => {}
                }
            }
            Question::Register(schema, mut reply) => {
                tokio::select! {
                    answer = client.register(&schema) => drop(reply.send(answer)),
                    () = reply.closed() => {}
                }
            }
        }
    }
}

/// A time span as messages have it.
fn told(time: Duration) -> String {
    wasmill_core::duration::print(time)
}

#[cfg(test)]
pub(crate) mod tests;
