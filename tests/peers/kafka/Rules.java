import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * The flagship's four rules, with the thresholds of its document. Framework-free: the programs
 * beside it call this with what they keep of an account.
 */
final class Rules {
  private static final int MAX_PER_MINUTE = 5;
  private static final double MAX_KM_PER_HOUR = 1000;
  private static final double MIN_KM = 600;
  private static final long MAX_TIMES_MEAN = 8;
  private static final long MIN_PAYMENTS = 8;
  private static final int MAX_NEW_MERCHANTS = 4;
  private static final long NEW_MERCHANTS_WITHIN = 20 * 60_000_000L;
  private static final int MIN_KNOWN_MERCHANTS = 8;
  /** Amounts after which the past counts half. */
  private static final long PAYMENTS_MAX = 64;
  private static final double HOUR = 3.6e9;
  private static final long MINUTE = 60_000_000;

  /** Takes a transaction, tells what the rules say of it, and gives what the model needs. */
  static Features judge(Account account, Transaction transaction, Consumer<Alert> told) {
    byte[] name = transaction.merchant.getBytes(StandardCharsets.UTF_8);
    int known = account.known;
    int merchant = account.find(name);
    boolean isNew = merchant < 0;
    if (isNew) {
      merchant = account.learn(name, transaction.at);
    }
    account.add(transaction, merchant);
    Features features = Features.of(account, transaction);
    tell(transaction, "velocity", velocity(features.countMinute), told);
    tell(transaction, "impossible_travel", impossibleTravel(account, transaction), told);
    tell(transaction, "amount_history", amountHistory(account, transaction.amount), told);
    if (isNew) {
      tell(transaction, "new_merchants", newMerchants(account, known, transaction), told);
    }
    return features;
  }

  private static void tell(
      Transaction transaction, String rule, String reasons, Consumer<Alert> told) {
    if (reasons != null) {
      told.accept(Alert.of(transaction, rule, 1, reasons));
    }
  }

  /** More payments in a minute than a person makes. */
  private static String velocity(int count) {
    return count > MAX_PER_MINUTE
        ? count + " payments within a minute, at most " + MAX_PER_MINUTE + " allowed"
        : null;
  }

  /** Two countries closer in time than any flight, of payments that need the holder in person. */
  private static String impossibleTravel(Account account, Transaction transaction) {
    String channel = transaction.channel;
    int here = Countries.number(transaction.country);
    if (!(channel.equals("atm") || channel.equals("card")) || !Countries.isKnown(here)) {
      return null;
    }
    int from = account.country;
    String reasons = from == 0 ? null : journey(from, account.there, here, transaction.at);
    // One that is flagged does not move the account, nor does one that is older.
    if (reasons == null && (from == 0 || transaction.at >= account.there)) {
      account.country = here;
      account.there = transaction.at;
    }
    return reasons;
  }

  private static String journey(int from, long left, int to, long at) {
    double km = Countries.chordKm(from, to);
    long elapsed = Math.abs(at - left);
    if (km < MIN_KM || km * HOUR <= MAX_KM_PER_HOUR * elapsed) {
      return null;
    }
    return Countries.code(from) + " to " + Countries.code(to)
        + ": " + Math.round(km) + " km within " + elapsed / MINUTE
        + " min, at most " + Math.round(MAX_KM_PER_HOUR) + " km/h allowed";
  }

  /** An amount far above the account's own; one that is flagged stays out of its history. */
  private static String amountHistory(Account account, long amount) {
    long payments = account.payments;
    long sum = account.sum;
    if (payments >= MIN_PAYMENTS && amount * payments > MAX_TIMES_MEAN * sum) {
      return Alert.money(amount) + " is over " + MAX_TIMES_MEAN + " times the mean of "
          + Alert.money(sum / payments);
    }
    boolean isFull = payments >= PAYMENTS_MAX;
    account.payments = (isFull ? payments / 2 : payments) + 1;
    account.sum = (isFull ? sum / 2 : sum) + amount;
    return null;
  }

  /** A burst of merchants that the account never used, once it has habits. */
  private static String newMerchants(Account account, int known, Transaction transaction) {
    int recent = 0;
    for (long first : account.firsts) {
      long age = transaction.at - first;
      recent += age >= 0 && age < NEW_MERCHANTS_WITHIN ? 1 : 0;
    }
    if (known < MIN_KNOWN_MERCHANTS || recent <= MAX_NEW_MERCHANTS) {
      return null;
    }
    return transaction.merchant + " is merchant " + recent + " new to the account within "
        + NEW_MERCHANTS_WITHIN / MINUTE + " min, at most " + MAX_NEW_MERCHANTS + " allowed";
  }
}
