import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The flagship's model, for up to so many transactions at once. One thread; inputs and outputs
 * stand where onnxruntime reads and writes them, so that a call copies nothing.
 */
final class Scorer implements AutoCloseable {
  /** Least score that is an alert. */
  private static final double SCORE_MIN = 0.7;

  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;
  private final Transaction[] transactions;
  private final Features[] features;
  private final FloatBuffer inputs;
  private final FloatBuffer scores;
  /** The first so many rows of inputs and scores, made when such a batch first comes. */
  private final OnnxTensor[] inputsOf;
  private final OnnxTensor[] scoresOf;
  private int rows;

  Scorer(int rowsMax) {
    transactions = new Transaction[rowsMax];
    features = new Features[rowsMax];
    inputs = floats(rowsMax * Features.INPUTS);
    scores = floats(rowsMax);
    inputsOf = new OnnxTensor[rowsMax + 1];
    scoresOf = new OnnxTensor[rowsMax + 1];
    try (InputStream model = Scorer.class.getResourceAsStream("/fraud.onnx");
        OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      session = environment.createSession(model.readAllBytes(), options);
    } catch (IOException | OrtException error) {
      throw new IllegalStateException("the model does not load", error);
    }
  }

  private static FloatBuffer floats(int count) {
    int bytes = count * Float.BYTES;
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer();
  }

  boolean isEmpty() {
    return rows == 0;
  }

  boolean isFull() {
    return rows == transactions.length;
  }

  void add(Transaction transaction, Features of) {
    of.write(inputs);
    transactions[rows] = transaction;
    features[rows] = of;
    rows++;
  }

  /** Tells of those whose score is high enough, and is empty again. */
  void score(Consumer<Alert> told) {
    try {
      run();
    } catch (OrtException error) {
      throw new IllegalStateException("the model does not run", error);
    }
    for (int row = 0; row < rows; row++) {
      double score = scores.get(row);
      if (score >= SCORE_MIN) {
        told.accept(Alert.of(transactions[row], "score", score, features[row].reasons()));
      }
    }
    inputs.clear();
    rows = 0;
  }

  private void run() throws OrtException {
    if (inputsOf[rows] == null) {
      inputsOf[rows] = tensor(inputs, Features.INPUTS);
      scoresOf[rows] = tensor(scores, 1);
    }
    var given = Map.of("inputs", inputsOf[rows]);
    session.run(given, Set.of(), Map.of("probabilities", scoresOf[rows])).close();
  }

  private OnnxTensor tensor(FloatBuffer floats, int width) throws OrtException {
    FloatBuffer first = floats.duplicate().position(0).limit(rows * width);
    return OnnxTensor.createTensor(environment, first, new long[] {rows, width});
  }

  @Override
  public void close() throws OrtException {
    for (int row = 0; row < inputsOf.length; row++) {
      if (inputsOf[row] != null) {
        inputsOf[row].close();
        scoresOf[row].close();
      }
    }
    session.close();
  }
}
