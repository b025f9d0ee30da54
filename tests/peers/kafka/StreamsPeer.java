import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmark jobs through Kafka for Kafka Streams, state in memory with its changelog topic and
 * its cache on. Records are keyed by account already: no topic lies in between.
 *
 * <p>Usage: StreamsPeer MODE BROKERS FROM TO RECORDS EVERY GUARANTEE MILLISECONDS. Without records it
 * runs until it is ended. Prints one line of JSON. The time runs from the first record to the last.
 */
public class StreamsPeer {
  static final AtomicLong FIRST = new AtomicLong(Long.MAX_VALUE);
  static final AtomicLong SEEN = new AtomicLong();

  /** A payment; four of six fields. */
  public static class Payment {
    public long account;
    public double amount;
    public long ts;
    public int country;
  }

  /** Counts and sums an account's payments, and tells of every so-manieth of them. */
  static class Fraud implements Processor<byte[], byte[], byte[], byte[]> {
    final long every;
    final ObjectReader reader =
        new ObjectMapper()
            .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false)
            .readerFor(Payment.class);
    ProcessorContext<byte[], byte[]> context;
    KeyValueStore<byte[], byte[]> accounts;
    boolean begun;

    Fraud(long every) {
      this.every = every;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
      accounts = context.getStateStore("accounts");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      if (!begun) {
        begun = true;
        FIRST.accumulateAndGet(System.nanoTime(), Math::min);
      }
      Payment payment;
      try {
        payment = reader.readValue(record.value());
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
      byte[] kept = accounts.get(record.key());
      ByteBuffer before = ByteBuffer.wrap(kept == null ? new byte[24] : kept);
      long payments = before.getLong() + 1;
      double total = before.getDouble() + payment.amount;
      ByteBuffer after = ByteBuffer.allocate(24);
      after.putLong(payments).putDouble(total).putLong(payment.ts);
      accounts.put(record.key(), after.array());
      if (payments % every == 0) {
        String text =
            "{\"account\":" + payment.account
                + ",\"amount\":" + payment.amount
                + ",\"payments\":" + payments
                + ",\"total\":" + total
                + ",\"ts\":" + payment.ts
                + ",\"rule\":\"r1\"}";
        context.forward(record.withValue(text.getBytes(StandardCharsets.UTF_8)));
      }
      SEEN.incrementAndGet();
    }
  }

  /** Hands records on as they are. */
  static class Pass implements Processor<byte[], byte[], byte[], byte[]> {
    ProcessorContext<byte[], byte[]> context;
    boolean begun;

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      if (!begun) {
        begun = true;
        FIRST.accumulateAndGet(System.nanoTime(), Math::min);
      }
      context.forward(record);
      SEEN.incrementAndGet();
    }
  }

  static Properties properties(String[] args, boolean ends) throws IOException {
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[1]);
    properties.put(
        StreamsConfig.NUM_STREAM_THREADS_CONFIG,
        Math.min(4, Runtime.getRuntime().availableProcessors()));
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[7]);
    properties.put(
        StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
        args[6].equals("exactly-once")
            ? StreamsConfig.EXACTLY_ONCE_V2
            : StreamsConfig.AT_LEAST_ONCE);
    properties.put(
        StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("kafka-streams").toString());
    properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    if (args[0].equals("flagship")) {
      properties.put(
          StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, StreamsFlagship.CACHE_BYTES);
    }
    consumer(properties, ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    consumer(properties, ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "10000");
    consumer(properties, ConsumerConfig.FETCH_MIN_BYTES_CONFIG, ends ? "100000" : "1");
    consumer(properties, ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, "4194304");
    consumer(properties, ConsumerConfig.CHECK_CRCS_CONFIG, "false");
    producer(properties, ProducerConfig.LINGER_MS_CONFIG, ends ? "20" : "1");
    producer(properties, ProducerConfig.BATCH_SIZE_CONFIG, "1000000");
    return properties;
  }

  static void consumer(Properties properties, String name, String value) {
    properties.put(StreamsConfig.consumerPrefix(name), value);
  }

  static void producer(Properties properties, String name, String value) {
    properties.put(StreamsConfig.producerPrefix(name), value);
  }

  static Topology topology(
      String from, String to, ProcessorSupplier<byte[], byte[], byte[], byte[]> job, boolean keeps) {
    var bytes = Serdes.ByteArray();
    Topology topology =
        new Topology()
            .addSource("from", bytes.deserializer(), bytes.deserializer(), from)
            .addProcessor("job", job, "from");
    if (keeps) {
      topology.addStateStore(
          Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("accounts"), bytes, bytes)
              .withCachingEnabled(),
          "job");
    }
    return topology.addSink("to", to, bytes.serializer(), bytes.serializer(), "job");
  }

  static ProcessorSupplier<byte[], byte[], byte[], byte[]> job(String mode, long every) {
    return switch (mode) {
      case "pass" -> Pass::new;
      case "fraud" -> () -> new Fraud(every);
      case "flagship" -> StreamsFlagship::new;
      default -> throw new IllegalArgumentException("no mode " + mode);
    };
  }

  static void forget(String brokers, String topic) throws Exception {
    try (var admin =
        org.apache.kafka.clients.admin.Admin.create(
            java.util.Map.<String, Object>of("bootstrap.servers", brokers))) {
      admin.deleteTopics(java.util.List.of(topic)).all().get();
    }
  }

  static double cpuSeconds() {
    var system = java.lang.management.ManagementFactory.getOperatingSystemMXBean();
    return ((com.sun.management.OperatingSystemMXBean) system).getProcessCpuTime() / 1e9;
  }

  public static void main(String[] args) throws Exception {
    long records = Long.parseLong(args[4]);
    boolean keeps = !args[0].equals("pass");
    var job = job(args[0], Long.parseLong(args[5]));
    Topology topology = topology(args[2], args[3], job, keeps);
    KafkaStreams streams = new KafkaStreams(topology, properties(args, records > 0));
    double cpu = cpuSeconds();
    streams.start();
    while (records == 0 || SEEN.get() < records) {
      if (streams.state() == KafkaStreams.State.ERROR) {
        throw new IllegalStateException("the job has failed");
      }
      Thread.sleep(5);
    }
    double seconds = (System.nanoTime() - FIRST.get()) / 1e9;
    cpu = cpuSeconds() - cpu;
    // The last transaction is committed here.
    streams.close();
    if (keeps) {
      forget(args[1], args[3] + "-accounts-changelog");
    }
    System.out.printf(
        Locale.ROOT,
        "{\"records\":%d,\"seconds\":%.6f,\"value\":%.1f,\"unit\":\"records/s\",\"cpu\":%.6f}%n",
        records, seconds, records / seconds, cpu * 1e6 / records);
  }
}
