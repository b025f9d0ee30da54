import java.nio.FloatBuffer;
import java.util.Locale;

/** What the windows that end with a transaction hold, itself included, and what the model sees. */
final class Features {
  /** Numbers that the model takes for each transaction. */
  static final int INPUTS = 16;
  private static final long MINUTE = 60_000_000;
  private static final long HOUR = 60 * MINUTE;
  /** Half of a transaction's logarithms are of small counts. */
  private static final double[] LOGS = new double[256];

  static {
    for (int count = 0; count < LOGS.length; count++) {
      LOGS[count] = Math.log(Math.max(count, 1));
    }
  }

  long amount;
  String channel;
  int countMinute;
  int countTenMinutes;
  int countHour;
  int countDay;
  long sumHour;
  long sumDay;
  /** Of the latest transactions: how many, the sum and the largest of their amounts. */
  int latest;
  long sumLatest;
  long maxLatest;
  int merchants;
  int countries;

  /** As of the latest transaction of an account. One walk back: a window holds a few of them. */
  static Features of(Account account, Transaction transaction) {
    Features features = new Features();
    features.amount = transaction.amount;
    features.channel = transaction.channel;
    features.maxLatest = transaction.amount;
    for (int row = account.rows - 1; row >= 0; row--) {
      long age = transaction.at - account.times[row];
      boolean isLatest = account.rows - row <= Account.LATEST;
      if (!isLatest && age >= Account.DAY + Account.LATE) {
        break;
      }
      if (isLatest) {
        features.takeLatest(account.amounts[row]);
      }
      // The start of a window lies outside, and so does what is later than the transaction.
      if (age >= 0 && age < Account.DAY) {
        features.take(age, account.amounts[row]);
      }
    }
    features.merchants = distinct(account, account.at, transaction.at, HOUR);
    features.countries = distinct(account, account.in, transaction.at, 2 * HOUR);
    return features;
  }

  private void takeLatest(long amount) {
    latest++;
    sumLatest += amount;
    maxLatest = Math.max(maxLatest, amount);
  }

  private void take(long age, long amount) {
    countDay++;
    sumDay += amount;
    if (age < HOUR) {
      countHour++;
      sumHour += amount;
      countTenMinutes += age < 10 * MINUTE ? 1 : 0;
      countMinute += age < MINUTE ? 1 : 0;
    }
  }

  /** How many different values the transactions of a window have: each counts at its latest one. */
  private static int distinct(Account account, int[] values, long now, long window) {
    int found = 0;
    for (int row = account.rows - 1; row >= 0; row--) {
      long age = now - account.times[row];
      if (age >= window + Account.LATE) {
        break;
      }
      if (age >= 0 && age < window && !isLater(account, values, row, now, window)) {
        found++;
      }
    }
    return found;
  }

  private static boolean isLater(
      Account account, int[] values, int row, long now, long window) {
    for (int later = row + 1; later < account.rows; later++) {
      long age = now - account.times[later];
      if (values[later] == values[row] && age >= 0 && age < window) {
        return true;
      }
    }
    return false;
  }

  /** Writes what the model sees: proportions and logarithms, in which no currency is dear. */
  void write(FloatBuffer inputs) {
    double mean = ofMoney((double) sumLatest / latest);
    double max = ofMoney(maxLatest);
    double hour = ofMoney(sumHour);
    put(inputs, ofMoney(amount) - mean);
    put(inputs, ofMoney(amount) - max);
    put(inputs, max - mean);
    put(inputs, hour - mean);
    put(inputs, hour - ofCount(countHour) - mean);
    put(inputs, ofMoney(sumDay) - mean);
    put(inputs, ofCount(countMinute));
    put(inputs, ofCount(countTenMinutes));
    put(inputs, ofCount(countHour));
    put(inputs, ofCount(countDay));
    put(inputs, ofCount(merchants));
    put(inputs, ofCount(countries));
    put(inputs, ofCount(latest));
    put(inputs, channel.equals("atm") ? 1 : 0);
    put(inputs, channel.equals("card") ? 1 : 0);
    put(inputs, channel.equals("netbanking") ? 1 : 0);
  }

  private static void put(FloatBuffer inputs, double number) {
    inputs.put((float) number);
  }

  private static double ofCount(int count) {
    return count < LOGS.length ? LOGS[count] : Math.log(count);
  }

  /** A refund or a zero counts as the smallest coin. */
  private static double ofMoney(double hundredths) {
    return Math.log(Math.max(hundredths, 1));
  }

  /** The values behind a score, as people read them. */
  String reasons() {
    return String.format(
        Locale.ROOT,
        "by %s: %d payments within 10 min, %d within an hour at %d merchants, %d countries within "
            + "two hours, %s spent within an hour, %s within a day, largest of the latest %d is %s",
        channel, countTenMinutes, countHour, merchants, countries,
        Alert.money(sumHour), Alert.money(sumDay), latest, Alert.money(maxLatest));
  }
}
