import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.cert.CRLException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509CRL;
import java.util.Arrays;

/** Answers the questions that process.py describes with the JDK's X509CRL. */
final class CrlServer {
    private X509CRL crl;
    private BigInteger[] queries = {};

    public static void main(String[] arguments) throws IOException {
        CrlServer server = new CrlServer();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println("ok " + server.answer(line.split(" ")));
            } catch (IOException | GeneralSecurityException | OutOfMemoryError error) {
                System.out.println("error " + error);
            }
        }
    }

    private long answer(String[] words) throws IOException, GeneralSecurityException {
        switch (words[0]) {
            case "load":
                return load(words[1], words[2]);
            case "queries":
                return readQueries(Path.of(words[1]), Integer.parseInt(words[2]));
            case "lookup":
                return lookup();
            case "memory":
                return memory();
            default:
                throw new IOException("no question: " + words[0]);
        }
    }

    private long load(String crlPath, String certificatePath)
            throws IOException, GeneralSecurityException {
        crl = null;
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        forget(factory);
        try (InputStream input = new BufferedInputStream(new FileInputStream(crlPath))) {
            crl = (X509CRL) factory.generateCRL(input);
        }
        try (InputStream input = new FileInputStream(certificatePath)) {
            crl.verify(factory.generateCertificate(input).getPublicKey());
        }
        return 0;
    }

    /** Empties the factory's cache: it gives a CRL of up to 4 MiB out again, parsed and verified. */
    static void forget(CertificateFactory factory) {
        try {
            factory.generateCRL(null);
        } catch (CRLException expected) {
            // It says that there is no input.
        }
    }

    private long readQueries(Path path, int width) throws IOException {
        byte[] rows = Files.readAllBytes(path);
        queries = new BigInteger[rows.length / width];
        for (int row = 0; row < queries.length; row++) {
            byte[] magnitude = Arrays.copyOfRange(rows, row * width, (row + 1) * width);
            queries[row] = new BigInteger(1, magnitude);
        }
        return queries.length;
    }

    private long lookup() {
        long hits = 0;
        for (BigInteger query : queries) {
            if (crl.getRevokedCertificate(query) != null) {
                hits++;
            }
        }
        return hits;
    }

    private static long memory() {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }
}
