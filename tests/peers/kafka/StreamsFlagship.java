import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The flagship's job for Kafka Streams: rules and model in one processor. Each transaction is
 * scored alone: a processor does not learn of a commit before it, so what it held back for a batch
 * would be lost if the program ended between the commit and the score.
 */
final class StreamsFlagship implements Processor<byte[], byte[], byte[], byte[]> {
  /** As much as all accounts, lest they go to the changelog more than once in a commit. */
  static final String CACHE_BYTES = "536870912";

  private ProcessorContext<byte[], byte[]> context;
  private KeyValueStore<byte[], byte[]> accounts;
  private Scorer scorer;
  private boolean begun;

  @Override
  public void init(ProcessorContext<byte[], byte[]> context) {
    this.context = context;
    accounts = context.getStateStore("accounts");
    scorer = new Scorer(1);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    if (!begun) {
      begun = true;
      StreamsPeer.FIRST.accumulateAndGet(System.nanoTime(), Math::min);
    }
    Transaction transaction;
    try {
      transaction = Transaction.read(record.value());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    byte[] kept = accounts.get(record.key());
    Account account = kept == null ? new Account() : Account.decode(kept);
    Features features = Rules.judge(account, transaction, alert -> tell(record, alert));
    accounts.put(record.key(), account.encode());
    scorer.add(transaction, features);
    scorer.score(alert -> tell(record, alert));
    StreamsPeer.SEEN.incrementAndGet();
  }

  private void tell(Record<byte[], byte[]> record, Alert alert) {
    Record<byte[], byte[]> told =
        new Record<>(alert.key, alert.value, record.timestamp(), record.headers());
    told.headers().remove("rule").add("rule", alert.rule);
    context.forward(told);
  }

  @Override
  public void close() {
    try {
      scorer.close();
    } catch (ai.onnxruntime.OrtException error) {
      throw new IllegalStateException("the model does not close", error);
    }
  }
}
