import java.io.IOException;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The flagship's job for Flink: rules and model in one keyed operator. */
final class FlinkFlagship {
  /**
   * Transactions that are scored at once. A call of onnxruntime for each took 3.4 us of CPU a
   * transaction where this takes 0.6, and with more of them it is not less.
   */
  private static final int BATCH = 64;

  static DataStream<Alert> alerts(DataStream<FlinkPeer.Bytes> read, boolean ends) {
    return read.map(new Read())
        .keyBy(transaction -> transaction.account)
        .transform("flagship", TypeInformation.of(Alert.class), new Judge(ends ? 20 : 1));
  }

  private static class Read extends RichMapFunction<FlinkPeer.Bytes, Transaction> {
    @Override
    public Transaction map(FlinkPeer.Bytes bytes) throws IOException {
      return Transaction.read(bytes.value);
    }
  }

  /**
   * Judges each transaction by the rules as it comes, and many at once by the model: as soon as
   * they are enough, the first of them has waited so many milliseconds, or a checkpoint's barrier
   * is here. So none is in the state of a checkpoint that its score is not in. Functions do not
   * see barriers, hence an operator.
   */
  private static class Judge extends AbstractStreamOperator<Alert>
      implements OneInputStreamOperator<Transaction, Alert>, BoundedOneInput {
    final long wait;
    transient ValueState<Account> accounts;
    transient Scorer scorer;
    transient boolean isTimed;

    Judge(long wait) {
      this.wait = wait;
    }

    @Override
    public void open() throws Exception {
      super.open();
      accounts =
          getPartitionedState(new ValueStateDescriptor<>("account", new AccountSerializer()));
      scorer = new Scorer(BATCH);
    }

    @Override
    public void processElement(StreamRecord<Transaction> record) throws Exception {
      // Each comes out of the exchange as an object of its own, and may be held until it is scored.
      Transaction transaction = record.getValue();
      Account account = accounts.value();
      if (account == null) {
        account = new Account();
      }
      Features features = Rules.judge(account, transaction, this::tell);
      accounts.update(account);
      scorer.add(transaction, features);
      if (scorer.isFull()) {
        score();
      } else if (!isTimed) {
        isTimed = true;
        var timers = getProcessingTimeService();
        timers.registerTimer(timers.getCurrentProcessingTime() + wait, this::scoreInTime);
      }
    }

    private void scoreInTime(long time) {
      isTimed = false;
      score();
    }

    private void score() {
      if (!scorer.isEmpty()) {
        scorer.score(this::tell);
      }
    }

    private void tell(Alert alert) {
      output.collect(new StreamRecord<>(alert));
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpoint) {
      score();
    }

    @Override
    public void endInput() {
      score();
      FlinkPeer.LAST.accumulateAndGet(System.nanoTime(), Math::max);
    }

    @Override
    public void close() throws Exception {
      if (scorer != null) {
        scorer.close();
      }
      super.close();
    }
  }

  /** Gives an alert with its rule as a header. */
  static class Write implements KafkaRecordSerializationSchema<Alert> {
    final String topic;

    Write(String topic) {
      this.topic = topic;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(
        Alert alert, KafkaSinkContext context, Long timestamp) {
      var record = new ProducerRecord<>(topic, alert.key, alert.value);
      record.headers().add("rule", alert.rule);
      return record;
    }
  }

  /** An account in checkpoints, as the bytes that it is for Kafka Streams too. */
  public static class AccountSerializer extends TypeSerializerSingleton<Account> {
    @Override
    public boolean isImmutableType() {
      return false;
    }

    @Override
    public Account createInstance() {
      return new Account();
    }

    @Override
    public Account copy(Account from) {
      return from.copy();
    }

    @Override
    public Account copy(Account from, Account reuse) {
      return from.copy();
    }

    @Override
    public int getLength() {
      return -1;
    }

    @Override
    public void serialize(Account account, DataOutputView target) throws IOException {
      byte[] bytes = account.encode();
      target.writeInt(bytes.length);
      target.write(bytes);
    }

    @Override
    public Account deserialize(DataInputView source) throws IOException {
      byte[] bytes = new byte[source.readInt()];
      source.readFully(bytes);
      return Account.decode(bytes);
    }

    @Override
    public Account deserialize(Account reuse, DataInputView source) throws IOException {
      return deserialize(source);
    }

    @Override
    public void copy(DataInputView source, DataOutputView target) throws IOException {
      int length = source.readInt();
      target.writeInt(length);
      target.write(source, length);
    }

    @Override
    public TypeSerializerSnapshot<Account> snapshotConfiguration() {
      return new Snapshot();
    }

    /** There is one form so far. */
    public static class Snapshot extends SimpleTypeSerializerSnapshot<Account> {
      public Snapshot() {
        super(AccountSerializer::new);
      }
    }
  }
}
