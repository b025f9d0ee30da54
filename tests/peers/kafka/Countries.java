import java.util.Arrays;

/** Where countries are: at their capitals, as the flagship's rule has it. */
final class Countries {
  private static final double EARTH_RADIUS_KM = 6371.0;
  private static final int LETTERS = 26;

  /** Latitude and longitude of each capital, in degrees; north and east are positive. */
  private static final String CAPITALS =
      """
      AE 24.45 54.38, AR -34.60 -58.38, AT 48.21 16.37, AU -35.28 149.13, AZ 40.41 49.87,
      BA 43.86 18.41, BD 23.81 90.41, BE 50.85 4.35, BG 42.70 23.32, BH 26.23 50.59,
      BO -16.49 -68.12, BR -15.79 -47.88, BY 53.90 27.57, CA 45.42 -75.70, CH 46.95 7.45,
      CI 6.83 -5.29, CL -33.45 -70.67, CM 3.85 11.50, CN 39.90 116.41, CO 4.71 -74.07,
      CR 9.93 -84.08, CU 23.11 -82.37, CY 35.19 33.38, CZ 50.08 14.44, DE 52.52 13.40,
      DK 55.68 12.57, DO 18.49 -69.93, DZ 36.75 3.06, EC -0.18 -78.47, EE 59.44 24.75,
      EG 30.04 31.24, ES 40.42 -3.70, ET 9.03 38.74, FI 60.17 24.94, FR 48.86 2.35,
      GB 51.51 -0.13, GE 41.72 44.83, GH 5.60 -0.19, GR 37.98 23.73, GT 14.63 -90.51,
      HK 22.32 114.17, HN 14.07 -87.19, HR 45.81 15.98, HU 47.50 19.04, ID -6.21 106.85,
      IE 53.35 -6.26, IL 31.77 35.21, IN 28.61 77.21, IQ 33.31 44.36, IR 35.69 51.39,
      IS 64.15 -21.94, IT 41.90 12.50, JM 18.02 -76.80, JO 31.95 35.93, JP 35.68 139.69,
      KE -1.29 36.82, KH 11.56 104.92, KR 37.57 126.98, KW 29.38 47.98, KZ 51.17 71.45,
      LA 17.98 102.63, LB 33.89 35.50, LK 6.93 79.86, LT 54.69 25.28, LU 49.61 6.13,
      LV 56.95 24.11, MA 34.02 -6.84, MD 47.01 28.86, ME 42.43 19.26, MK 42.00 21.43,
      MM 19.76 96.08, MN 47.89 106.91, MT 35.90 14.51, MU -20.16 57.50, MX 19.43 -99.13,
      MY 3.15 101.69, NG 9.08 7.40, NL 52.37 4.90, NO 59.91 10.75, NP 27.72 85.32,
      NZ -41.29 174.78, OM 23.59 58.41, PA 8.98 -79.52, PE -12.05 -77.04, PH 14.60 120.98,
      PK 33.68 73.05, PL 52.23 21.01, PT 38.72 -9.14, PY -25.26 -57.58, QA 25.29 51.53,
      RO 44.43 26.10, RS 44.79 20.45, RU 55.76 37.62, SA 24.71 46.68, SE 59.33 18.07,
      SG 1.35 103.82, SI 46.06 14.51, SK 48.15 17.11, SN 14.72 -17.47, TH 13.76 100.50,
      TN 36.81 10.18, TR 39.93 32.86, TW 25.03 121.57, TZ -6.16 35.75, UA 50.45 30.52,
      UG 0.35 32.58, US 38.91 -77.04, UY -34.90 -56.16, UZ 41.30 69.24, VE 10.48 -66.90,
      VN 21.03 105.85, ZA -25.75 28.19, ZM -15.39 28.32, ZW -17.83 31.05
      """;

  /** The unit vector of each known country, by its number. */
  private static final double[][] UNITS = units();

  /** The number of a country, known or not: its two letters; 0 is none. */
  static int number(String code) {
    if (code.length() != 2) {
      throw new IllegalArgumentException("no code of two letters: " + code);
    }
    int first = code.charAt(0) - 'A';
    int second = code.charAt(1) - 'A';
    if (first < 0 || first >= LETTERS || second < 0 || second >= LETTERS) {
      throw new IllegalArgumentException("no code of two letters: " + code);
    }
    return 1 + first * LETTERS + second;
  }

  static String code(int number) {
    char first = (char) ('A' + (number - 1) / LETTERS);
    char second = (char) ('A' + (number - 1) % LETTERS);
    return "" + first + second;
  }

  static boolean isKnown(int number) {
    return UNITS[number] != null;
  }

  /** The straight line between two capitals: never longer than the way over the earth. */
  static double chordKm(int from, int to) {
    double[] a = UNITS[from];
    double[] b = UNITS[to];
    double x = a[0] - b[0];
    double y = a[1] - b[1];
    double z = a[2] - b[2];
    return EARTH_RADIUS_KM * Math.sqrt(x * x + y * y + z * z);
  }

  private static double[][] units() {
    double[][] units = new double[1 + LETTERS * LETTERS][];
    for (String capital : CAPITALS.split(",")) {
      String[] words = capital.strip().split(" ");
      double latitude = Math.toRadians(Double.parseDouble(words[1]));
      double longitude = Math.toRadians(Double.parseDouble(words[2]));
      double around = Math.cos(latitude);
      double[] unit = {
        around * Math.cos(longitude), around * Math.sin(longitude), Math.sin(latitude)
      };
      // Nine digits, as in the plugin's table.
      units[number(words[0])] = Arrays.stream(unit).map(v -> Math.rint(v * 1e9) / 1e9).toArray();
    }
    return units;
  }
}
