import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFilterFunction;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.co.ProcessJoinFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.EventTimeSessionWindows;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.WindowAssigner;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * The benchmark jobs for Flink: the same records, the same work, object reuse on.
 *
 * <p>Usage: Peer MODE RECORDS KEYS PARALLELISM [BACKEND [MILLISECONDS]], where MODE is stateless,
 * keyed, json, tumbling, sliding, session or interval-join (of whose records each stream has half),
 * BACKEND is hashmap (if not given) or rocksdb, and checkpoints are taken at that interval. Prints one
 * line of JSON. The time runs from the first record that a source makes to the end of the last
 * operator: starting and stopping Flink's mini cluster does not count.
 */
public class Peer {
  /** Spreads consecutive numbers over the keys, as the generator of wasmill's benchmarks does. */
  static final long SPREAD = 0x9E3779B97F4A7C15L;

  /** Nanoseconds of the first record and of the last operator's end, over all subtasks. */
  static final AtomicLong FIRST = new AtomicLong(Long.MAX_VALUE);
  static final AtomicLong LAST = new AtomicLong(Long.MIN_VALUE);

  /** The numbers of the checkpoints that were completed while records came. */
  static final Set<Long> COMPLETED = ConcurrentHashMap.newKeySet();

  static void begin() {
    FIRST.accumulateAndGet(System.nanoTime(), Math::min);
  }

  static void end() {
    LAST.accumulateAndGet(System.nanoTime(), Math::max);
  }

  /** A transaction, as Flink's serializers want it: public fields and an empty constructor. */
  public static class Transaction {
    public long account;
    public double amount;
    public long ts;
    public int country;
  }

  /** What is kept for each account. */
  public static class Account {
    public long count;
    public double sum;
    public long last;
  }

  /** Makes the i-th transaction. */
  static class Make extends RichMapFunction<Long, Transaction> {
    final long keys;
    transient boolean begun;

    Make(long keys) {
      this.keys = keys;
    }

    @Override
    public Transaction map(Long i) {
      if (!begun) {
        begun = true;
        begin();
      }
      Transaction transaction = new Transaction();
      transaction.account = Long.remainderUnsigned(i * SPREAD, keys);
      transaction.amount = i % 1000;
      transaction.ts = i;
      return transaction;
    }
  }

  /**
   * Makes transactions whose times go on together in all subtasks: a source hands each subtask a
   * stretch of the numbers, and stretches one after the other would be a stream in disorder.
   */
  static class MakeTimed extends RichMapFunction<Long, Transaction> {
    final Make make;
    final long stretch;
    final long subtasks;

    MakeTimed(long records, long keys, int parallelism) {
      make = new Make(keys);
      stretch = Math.max(1, (records + parallelism - 1) / parallelism);
      subtasks = parallelism;
    }

    @Override
    public Transaction map(Long i) {
      return make.map(i % stretch * subtasks + i / stretch);
    }
  }

  /** Takes both amounts and tells of nobody. */
  static class Pair extends ProcessJoinFunction<Transaction, Transaction, String> {
    @Override
    public void processElement(
        Transaction left, Transaction right, Context context, Collector<String> out) {
      if (left.amount + right.amount > 1e12) {
        out.collect("alert " + left.account);
      }
    }

    @Override
    public void close() {
      end();
    }
  }

  /** Makes the i-th transaction as JSON text of six fields. */
  static class Write extends RichMapFunction<Long, byte[]> {
    final long keys;
    transient boolean begun;

    Write(long keys) {
      this.keys = keys;
    }

    @Override
    public byte[] map(Long i) {
      if (!begun) {
        begun = true;
        begin();
      }
      String text =
          "{\"account\":" + Long.remainderUnsigned(i * SPREAD, keys)
              + ",\"amount\":" + (i % 1000) + ".25"
              + ",\"ts\":" + i
              + ",\"country\":" + (i % 7)
              + ",\"merchant\":\"m" + (i % 5000) + "\""
              + ",\"channel\":\"card\"}";
      return text.getBytes(StandardCharsets.UTF_8);
    }
  }

  /** Reads four of the six fields. */
  static class Read extends RichMapFunction<byte[], Transaction> {
    transient ObjectMapper mapper;

    @Override
    public void open(OpenContext context) {
      mapper = new ObjectMapper();
      mapper.configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    }

    @Override
    public Transaction map(byte[] text) throws Exception {
      return mapper.readValue(text, Transaction.class);
    }
  }

  /** Lets nothing through. */
  static class Large extends RichFilterFunction<Transaction> {
    @Override
    public boolean filter(Transaction transaction) {
      return transaction.amount > 1e6;
    }

    @Override
    public void close() {
      end();
    }
  }

  /** Counts and sums an account's transactions; alerts never. */
  static class Rule extends KeyedProcessFunction<Long, Transaction, String>
      implements CheckpointListener {
    transient ValueState<Account> state;

    @Override
    public void open(OpenContext context) {
      state = getRuntimeContext().getState(new ValueStateDescriptor<>("account", Account.class));
    }

    @Override
    public void processElement(Transaction transaction, Context context, Collector<String> out)
        throws Exception {
      Account account = state.value();
      if (account == null) {
        account = new Account();
      }
      account.count++;
      account.sum += transaction.amount;
      account.last = transaction.ts;
      state.update(account);
      if (account.sum > 1e12) {
        out.collect("alert " + transaction.account);
      }
    }

    @Override
    public void notifyCheckpointComplete(long checkpoint) {
      COMPLETED.add(checkpoint);
    }

    @Override
    public void close() {
      end();
    }
  }

  static void build(StreamExecutionEnvironment environment, String mode, long records, long keys) {
    DataStream<Long> numbers = environment.fromSequence(0, records - 1);
    MakeTimed timed = new MakeTimed(records, keys, environment.getParallelism());
    switch (mode) {
      case "stateless" ->
          numbers.map(new Make(keys)).filter(new Large()).sinkTo(new DiscardingSink<>());
      case "keyed" -> keyed(numbers.map(new Make(keys)));
      case "json" -> keyed(numbers.map(new Write(keys)).map(new Read()));
      case "interval-join" -> intervalJoin(environment, records / 2, keys);
      case "tumbling" ->
          windowed(numbers.map(timed), TumblingEventTimeWindows.of(Duration.ofSeconds(60)));
      case "sliding" ->
          windowed(
              numbers.map(timed),
              SlidingEventTimeWindows.of(Duration.ofSeconds(60), Duration.ofSeconds(5)));
      case "session" ->
          windowed(numbers.map(timed), EventTimeSessionWindows.withGap(Duration.ofSeconds(5)));
      default -> throw new IllegalArgumentException("no mode " + mode);
    }
  }

  /** Pairs of one account whose right record comes at most five seconds after the left one. */
  static void intervalJoin(StreamExecutionEnvironment environment, long records, long keys) {
    timed(environment, records, keys)
        .keyBy(t -> t.account)
        .intervalJoin(timed(environment, records, keys).keyBy(t -> t.account))
        .between(Duration.ZERO, Duration.ofSeconds(5))
        .process(new Pair())
        .sinkTo(new DiscardingSink<>());
  }

  static DataStream<Transaction> timed(
      StreamExecutionEnvironment environment, long records, long keys) {
    return environment
        .fromSequence(0, records - 1)
        .map(new MakeTimed(records, keys, environment.getParallelism()))
        .assignTimestampsAndWatermarks(
            WatermarkStrategy.<Transaction>forMonotonousTimestamps()
                .withTimestampAssigner((t, at) -> t.ts));
  }

  /** Counts and sums the transactions of a window. */
  static class Total implements AggregateFunction<Transaction, Account, Account> {
    @Override
    public Account createAccumulator() {
      return new Account();
    }

    @Override
    public Account add(Transaction transaction, Account account) {
      account.count++;
      account.sum += transaction.amount;
      return account;
    }

    @Override
    public Account getResult(Account account) {
      return account;
    }

    @Override
    public Account merge(Account one, Account other) {
      one.count += other.count;
      one.sum += other.sum;
      return one;
    }
  }

  /** Hands a result on, and notes the end. */
  static class Result extends ProcessWindowFunction<Account, Account, Long, TimeWindow> {
    @Override
    public void process(
        Long key, Context context, Iterable<Account> results, Collector<Account> out) {
      results.forEach(out::collect);
    }

    @Override
    public void close() {
      end();
    }
  }

  static void windowed(
      DataStream<Transaction> transactions, WindowAssigner<Object, TimeWindow> windows) {
    WatermarkStrategy<Transaction> disorder =
        WatermarkStrategy.<Transaction>forBoundedOutOfOrderness(Duration.ofSeconds(1))
            .withTimestampAssigner((transaction, before) -> transaction.ts);
    transactions
        .assignTimestampsAndWatermarks(disorder)
        .keyBy(transaction -> transaction.account)
        .window(windows)
        .aggregate(new Total(), new Result())
        .sinkTo(new DiscardingSink<>());
  }

  static void keyed(DataStream<Transaction> transactions) {
    transactions.keyBy(t -> t.account).process(new Rule()).sinkTo(new DiscardingSink<>());
  }

  public static void main(String[] args) throws Exception {
    String mode = args[0];
    long records = Long.parseLong(args[1]);
    long keys = Long.parseLong(args[2]);
    int parallelism = Integer.parseInt(args[3]);
    Configuration configuration = new Configuration();
    configuration.setString("state.backend.type", args.length > 4 ? args[4] : "hashmap");
    // As much memory for RocksDB as wasmill's cache has.
    configuration.setString("taskmanager.memory.managed.size", "512m");
    if (args.length > 5) {
      Path folder = Files.createTempDirectory("flink-checkpoints");
      configuration.setString("execution.checkpointing.interval", args[5] + " ms");
      configuration.setString("execution.checkpointing.dir", folder.toUri().toString());
      configuration.setString("execution.checkpointing.incremental", "true");
      // Or else every task would wait for one more checkpoint behind its last record.
      configuration.setString(
          "execution.checkpointing.checkpoints-after-tasks-finish.enabled", "false");
    }
    configuration.setString("taskmanager.numberOfTaskSlots", String.valueOf(parallelism));
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(parallelism, configuration);
    environment.getConfig().enableObjectReuse();
    build(environment, mode, records, keys);
    environment.execute();
    double seconds = (LAST.get() - FIRST.get()) / 1e9;
    String checkpoints = args.length > 5 ? ",\"checkpoints\":" + COMPLETED.size() : "";
    System.out.printf(
        Locale.ROOT,
        "{\"scenario\":\"%s\",\"records\":%d,\"seconds\":%.6f,\"value\":%.1f,"
            + "\"unit\":\"records/s\"%s}%n",
        mode, records, seconds, records / seconds, checkpoints);
  }
}
