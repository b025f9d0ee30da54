import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * What the flagship keeps of an account: what its rules know, and the transactions that its windows
 * may still need. Arrays of numbers: they are copied and written as they are, for Flink's images of
 * state and for the bytes of Kafka Streams' stores.
 */
final class Account {
  /** The latest so many transactions have windows of their own. */
  static final int LATEST = 50;
  /** The longest window over time, in microseconds. */
  static final long DAY = 86_400_000_000L;
  /** No transaction comes later than so long after its time. */
  static final long LATE = 5_000_000;
  /** First purchases that are remembered. */
  static final int FIRSTS = 8;
  /** Bytes of an account that holds nothing. */
  private static final int FIXED = 4 * Integer.BYTES + 3 * Long.BYTES;

  /** The country where it was last believed to be, as `Countries` numbers it; 0 is nowhere. */
  int country;
  /** The time of the payment there. */
  long there;
  /** Earlier amounts: how many, and their sum in hundredths. */
  long payments;
  long sum;
  /** Merchants that it has used: their number, and their names behind each other's lengths. */
  int known;
  byte[] merchants = {};
  /** When it first paid at its latest new merchants. */
  long[] firsts = {};
  /** Its transactions as they came: the times, amounts, merchants and countries of so many. */
  int rows;
  long[] times = {};
  long[] amounts = {};
  int[] at = {};
  int[] in = {};

  /** The number of a merchant, from 0; a negative one if the account has never used it. */
  int find(byte[] name) {
    int number = 0;
    for (int from = 0; from < merchants.length; number++) {
      int length = (merchants[from] & 0xff) << 8 | merchants[from + 1] & 0xff;
      from += 2;
      if (length == name.length
          && Arrays.equals(merchants, from, from + length, name, 0, length)) {
        return number;
      }
      from += length;
    }
    return -1;
  }

  /** Takes a merchant that it has never used; gives its number. */
  int learn(byte[] name, long time) {
    int from = merchants.length;
    merchants = Arrays.copyOf(merchants, from + 2 + name.length);
    merchants[from] = (byte) (name.length >> 8);
    merchants[from + 1] = (byte) name.length;
    System.arraycopy(name, 0, merchants, from + 2, name.length);
    int skipped = firsts.length == FIRSTS ? 1 : 0;
    long[] latest = Arrays.copyOfRange(firsts, skipped, firsts.length + 1);
    latest[latest.length - 1] = time;
    firsts = latest;
    return known++;
  }

  /** Takes a transaction at a merchant with this number. */
  void add(Transaction transaction, int merchant) {
    if (rows == times.length) {
      makeRoom(transaction.at);
    }
    times[rows] = transaction.at;
    amounts[rows] = transaction.amount;
    at[rows] = merchant;
    in[rows] = Countries.number(transaction.country);
    rows++;
  }

  /** Forgets transactions that no window needs, and grows if that gives little room. */
  private void makeRoom(long now) {
    int gone = 0;
    while (rows - gone >= LATEST && times[gone] <= now - DAY - LATE) {
      gone++;
    }
    int size = gone > rows / 8 ? rows : Math.max(8, rows * 2);
    times = Arrays.copyOf(Arrays.copyOfRange(times, gone, rows), size);
    amounts = Arrays.copyOf(Arrays.copyOfRange(amounts, gone, rows), size);
    at = Arrays.copyOf(Arrays.copyOfRange(at, gone, rows), size);
    in = Arrays.copyOf(Arrays.copyOfRange(in, gone, rows), size);
    rows -= gone;
  }

  Account copy() {
    Account copy = new Account();
    copy.country = country;
    copy.there = there;
    copy.payments = payments;
    copy.sum = sum;
    copy.known = known;
    copy.rows = rows;
    // Merchants and first purchases are replaced, and never written to.
    copy.merchants = merchants;
    copy.firsts = firsts;
    copy.times = times.clone();
    copy.amounts = amounts.clone();
    copy.at = at.clone();
    copy.in = in.clone();
    return copy;
  }

  byte[] encode() {
    int row = 2 * (Long.BYTES + Integer.BYTES);
    int size = FIXED + firsts.length * Long.BYTES + rows * row + merchants.length;
    ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(country).putLong(there).putLong(payments).putLong(sum).putInt(known);
    out.putInt(firsts.length).putInt(rows);
    put(out, firsts, firsts.length);
    put(out, times, rows);
    put(out, amounts, rows);
    put(out, at, rows);
    put(out, in, rows);
    return out.put(merchants).array();
  }

  static Account decode(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    Account account = new Account();
    account.country = in.getInt();
    account.there = in.getLong();
    account.payments = in.getLong();
    account.sum = in.getLong();
    account.known = in.getInt();
    int firsts = in.getInt();
    account.rows = in.getInt();
    account.firsts = longs(in, firsts, firsts);
    // Room for some more, but none now and then, lest old ones are never forgotten.
    int size = (account.rows + 15) / 16 * 16;
    account.times = longs(in, account.rows, size);
    account.amounts = longs(in, account.rows, size);
    account.at = ints(in, account.rows, size);
    account.in = ints(in, account.rows, size);
    account.merchants = Arrays.copyOfRange(bytes, in.position(), bytes.length);
    return account;
  }

  private static void put(ByteBuffer out, long[] values, int count) {
    out.asLongBuffer().put(values, 0, count);
    out.position(out.position() + count * Long.BYTES);
  }

  private static void put(ByteBuffer out, int[] values, int count) {
    out.asIntBuffer().put(values, 0, count);
    out.position(out.position() + count * Integer.BYTES);
  }

  private static long[] longs(ByteBuffer in, int count, int size) {
    long[] values = new long[size];
    in.asLongBuffer().get(values, 0, count);
    in.position(in.position() + count * Long.BYTES);
    return values;
  }

  private static int[] ints(ByteBuffer in, int count, int size) {
    int[] values = new int[size];
    in.asIntBuffer().get(values, 0, count);
    in.position(in.position() + count * Integer.BYTES);
    return values;
  }
}
