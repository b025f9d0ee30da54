import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;

/** What is told of a transaction, as it stands in the topic. */
public class Alert {
  private static final JsonFactory JSON = new JsonFactory();
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

  public byte[] key;
  public byte[] value;
  /** The header `rule`. */
  public byte[] rule;

  static Alert of(Transaction transaction, String rule, double score, String reasons) {
    Alert alert = new Alert();
    alert.key = Long.toString(transaction.account).getBytes(StandardCharsets.UTF_8);
    alert.rule = rule.getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream text = new ByteArrayOutputStream(512);
    try (JsonGenerator json = JSON.createGenerator(text)) {
      json.writeStartObject();
      json.writeNumberField("account", transaction.account);
      json.writeStringField("at", time(transaction.at));
      json.writeStringField("transaction", transaction.id);
      json.writeStringField("rule", rule);
      json.writeNumberField("score", score);
      json.writeStringField("reasons", reasons);
      json.writeFieldName("amount");
      json.writeNumber(money(transaction.amount));
      json.writeEndObject();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    alert.value = text.toByteArray();
    return alert;
  }

  private static String time(long micros) {
    return TIME.format(Instant.EPOCH.plus(micros, ChronoUnit.MICROS));
  }

  /** An amount of hundredths as a person reads it. */
  static String money(long hundredths) {
    String sign = hundredths < 0 ? "-" : "";
    long rest = Math.abs(hundredths % 100);
    return sign + Math.abs(hundredths / 100) + (rest < 10 ? ".0" : ".") + rest;
  }
}
