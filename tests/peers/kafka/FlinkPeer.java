import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichFilterFunction;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectReader;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The benchmark jobs through Kafka for Flink, object reuse on, state on the heap.
 *
 * <p>Usage: FlinkPeer MODE BROKERS FROM TO RECORDS EVERY GUARANTEE MILLISECONDS. Without records it
 * runs until it is ended. Prints one line of JSON. The time runs from the first record that a source
 * reads to the last record that the operator before the sink has seen.
 */
public class FlinkPeer {
  static final AtomicLong FIRST = new AtomicLong(Long.MAX_VALUE);
  static final AtomicLong LAST = new AtomicLong(Long.MIN_VALUE);

  /** Key and value of a record, as they go through. */
  public static class Bytes {
    public byte[] key;
    public byte[] value;
  }

  /** A payment, as Flink's serializers want it: public fields and an empty constructor. */
  public static class Payment {
    public long account;
    public double amount;
    public long ts;
    public int country;
  }

  /** What is kept for each account. */
  public static class Account {
    public long payments;
    public double total;
    public long last;
  }

  /** Takes key and value as they are. */
  static class Read implements KafkaRecordDeserializationSchema<Bytes> {
    transient boolean begun;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Bytes> out) {
      if (!begun) {
        begun = true;
        FIRST.accumulateAndGet(System.nanoTime(), Math::min);
      }
      Bytes bytes = new Bytes();
      bytes.key = record.key();
      bytes.value = record.value();
      out.collect(bytes);
    }

    @Override
    public TypeInformation<Bytes> getProducedType() {
      return TypeInformation.of(Bytes.class);
    }
  }

  /** Gives key and value as they are. */
  static class Write implements KafkaRecordSerializationSchema<Bytes> {
    final String topic;

    Write(String topic) {
      this.topic = topic;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(
        Bytes bytes, KafkaSinkContext context, Long timestamp) {
      return new ProducerRecord<>(topic, bytes.key, bytes.value);
    }
  }

  /** Reads four of the six fields. */
  static class Parse extends RichMapFunction<Bytes, Payment> {
    transient ObjectReader reader;

    @Override
    public void open(OpenContext context) {
      ObjectMapper mapper = new ObjectMapper();
      mapper.configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
      reader = mapper.readerFor(Payment.class);
    }

    @Override
    public Payment map(Bytes bytes) throws Exception {
      return reader.readValue(bytes.value);
    }
  }

  /** Lets every so-manieth record through. */
  static class Some extends RichFilterFunction<Bytes> {
    final long every;
    transient long seen;

    Some(long every) {
      this.every = every;
    }

    @Override
    public boolean filter(Bytes bytes) {
      return ++seen % every == 0;
    }

    @Override
    public void close() {
      LAST.accumulateAndGet(System.nanoTime(), Math::max);
    }
  }

  /** Counts and sums an account's payments, and tells of every so-manieth of them. */
  static class Fraud extends KeyedProcessFunction<Long, Payment, Bytes> {
    final long every;
    transient ValueState<Account> state;

    Fraud(long every) {
      this.every = every;
    }

    @Override
    public void open(OpenContext context) {
      state = getRuntimeContext().getState(new ValueStateDescriptor<>("account", Account.class));
    }

    @Override
    public void processElement(Payment payment, Context context, Collector<Bytes> out)
        throws Exception {
      Account account = state.value();
      if (account == null) {
        account = new Account();
      }
      account.payments++;
      account.total += payment.amount;
      account.last = payment.ts;
      state.update(account);
      if (account.payments % every == 0) {
        Bytes told = new Bytes();
        told.key = Long.toString(payment.account).getBytes(StandardCharsets.UTF_8);
        String text =
            "{\"account\":" + payment.account
                + ",\"amount\":" + payment.amount
                + ",\"payments\":" + account.payments
                + ",\"total\":" + account.total
                + ",\"ts\":" + payment.ts
                + ",\"rule\":\"r1\"}";
        told.value = text.getBytes(StandardCharsets.UTF_8);
        out.collect(told);
      }
    }

    @Override
    public void close() {
      LAST.accumulateAndGet(System.nanoTime(), Math::max);
    }
  }

  static KafkaSource<Bytes> source(String brokers, String topic, String group, boolean ends) {
    KafkaSourceBuilder<Bytes> source =
        KafkaSource.<Bytes>builder()
            .setBootstrapServers(brokers)
            .setTopics(topic)
            .setGroupId(group)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setDeserializer(new Read())
            .setProperty("isolation.level", "read_committed")
            .setProperty("fetch.min.bytes", ends ? "100000" : "1")
            .setProperty("max.partition.fetch.bytes", "4194304")
            .setProperty("max.poll.records", "10000")
            .setProperty("check.crcs", "false");
    if (ends) {
      source.setBounded(OffsetsInitializer.latest());
    }
    return source.build();
  }

  static <T> KafkaSink<T> sink(
      KafkaRecordSerializationSchema<T> write,
      String brokers, String prefix, boolean exact, boolean ends) {
    KafkaSinkBuilder<T> sink =
        KafkaSink.<T>builder()
            .setBootstrapServers(brokers)
            .setRecordSerializer(write)
            .setProperty("linger.ms", ends ? "20" : "1")
            .setProperty("batch.size", "1000000")
            .setProperty("transaction.timeout.ms", "600000")
            .setDeliveryGuarantee(
                exact ? DeliveryGuarantee.EXACTLY_ONCE : DeliveryGuarantee.AT_LEAST_ONCE);
    if (exact) {
      sink.setTransactionalIdPrefix(prefix);
    }
    return sink.build();
  }

  static DataStream<Bytes> told(String mode, DataStream<Bytes> read, long every) {
    return mode.equals("pass")
        ? read.filter(new Some(every))
        : read.map(new Parse()).keyBy(payment -> payment.account).process(new Fraud(every));
  }

  static double cpuSeconds() {
    var system = java.lang.management.ManagementFactory.getOperatingSystemMXBean();
    return ((com.sun.management.OperatingSystemMXBean) system).getProcessCpuTime() / 1e9;
  }

  public static void main(String[] args) throws Exception {
    String mode = args[0];
    String brokers = args[1];
    String from = args[2];
    String to = args[3];
    long records = Long.parseLong(args[4]);
    long every = Long.parseLong(args[5]);
    boolean exact = args[6].equals("exactly-once");
    boolean ends = records > 0;
    int parallelism = Math.min(4, Runtime.getRuntime().availableProcessors());
    Path folder = Files.createTempDirectory("flink-checkpoints");
    Configuration configuration = new Configuration();
    configuration.setString("state.backend.type", "hashmap");
    configuration.setString("taskmanager.numberOfTaskSlots", String.valueOf(parallelism));
    configuration.setString("execution.checkpointing.interval", args[7] + " ms");
    configuration.setString("execution.checkpointing.dir", folder.toUri().toString());
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(parallelism, configuration);
    environment.getConfig().enableObjectReuse();
    if (!ends) {
      environment.setBufferTimeout(1);
    }
    DataStream<Bytes> read =
        environment.fromSource(
            source(brokers, from, to, ends), WatermarkStrategy.noWatermarks(), "from");
    if (mode.equals("flagship")) {
      FlinkFlagship.alerts(read, ends)
          .sinkTo(sink(new FlinkFlagship.Write(to), brokers, to, exact, ends));
    } else {
      told(mode, read, every).sinkTo(sink(new Write(to), brokers, to, exact, ends));
    }
    double cpu = cpuSeconds();
    environment.execute();
    cpu = cpuSeconds() - cpu;
    double seconds = (LAST.get() - FIRST.get()) / 1e9;
    System.out.printf(
        Locale.ROOT,
        "{\"records\":%d,\"seconds\":%.6f,\"value\":%.1f,\"unit\":\"records/s\",\"cpu\":%.6f}%n",
        records, seconds, records / seconds, cpu * 1e6 / records);
  }
}
