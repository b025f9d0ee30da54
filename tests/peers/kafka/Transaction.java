import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.temporal.ChronoUnit;

/**
 * A transaction of the flagship, seven of nine fields. Public fields and an empty constructor, as
 * Flink's serializers want them.
 */
public class Transaction {
  private static final JsonFactory JSON = new JsonFactory();
  /** Characters of a time with microseconds in UTC. */
  private static final int TIME_LENGTH = "2026-01-26T00:00:01.000002Z".length();

  public String id;
  public long account;
  /** Event time, in microseconds since 1970. */
  public long at;
  /** Hundredths of the account's currency: money is never a float. */
  public long amount;
  public String merchant;
  public String country;
  public String channel;

  /** Reads token by token: half the time of Jackson's data binding, and exact amounts. */
  static Transaction read(byte[] text) throws IOException {
    Transaction read = new Transaction();
    try (JsonParser parser = JSON.createParser(text)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        read.take(name, parser);
      }
    }
    return read;
  }

  private void take(String name, JsonParser parser) throws IOException {
    switch (name) {
      case "id" -> id = parser.getText();
      case "account" -> account = parser.getLongValue();
      case "at" -> at = micros(parser.getText());
      case "amount" -> amount = parser.getDecimalValue().movePointRight(2).longValueExact();
      case "merchant" -> merchant = parser.getText();
      case "country" -> country = parser.getText();
      case "channel" -> channel = parser.getText();
      default -> parser.skipChildren();
    }
  }

  /** Microseconds since 1970. Java's own way takes as long as reading all other fields. */
  static long micros(String time) {
    if (time.length() != TIME_LENGTH || time.charAt(TIME_LENGTH - 1) != 'Z') {
      return ChronoUnit.MICROS.between(Instant.EPOCH, Instant.parse(time));
    }
    LocalDate date = LocalDate.of(digits(time, 0, 4), digits(time, 5, 7), digits(time, 8, 10));
    long hours = date.toEpochDay() * 24 + digits(time, 11, 13);
    long seconds = (hours * 60 + digits(time, 14, 16)) * 60 + digits(time, 17, 19);
    return seconds * 1_000_000 + digits(time, 20, 26);
  }

  private static int digits(String text, int from, int to) {
    return Integer.parseInt(text, from, to, 10);
  }
}
