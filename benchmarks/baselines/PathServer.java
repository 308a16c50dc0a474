import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.cert.CRL;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * Checks paths against CRLs, as java_pkix.py asks: {@code load ROOT INTERMEDIATE CRL...},
 * {@code certificates FILE} and {@code check}, which answers with the number of the revoked.
 */
final class PathServer {
    private final CertificateFactory factory;
    private final CertPathValidator validator;
    private PKIXParameters parameters;
    private X509Certificate intermediate;
    private List<byte[]> certificates = List.of();

    private PathServer() throws GeneralSecurityException {
        factory = CertificateFactory.getInstance("X.509");
        validator = CertPathValidator.getInstance("PKIX");
    }

    public static void main(String[] arguments) throws IOException, GeneralSecurityException {
        PathServer server = new PathServer();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println("ok " + server.answer(line.split(" ")));
            } catch (IOException | GeneralSecurityException error) {
                System.out.println("error " + error);
            }
        }
    }

    private long answer(String[] words) throws IOException, GeneralSecurityException {
        switch (words[0]) {
            case "load":
                return load(words);
            case "certificates":
                return readCertificates(Path.of(words[1]));
            case "check":
                return check();
            default:
                throw new IOException("no question: " + words[0]);
        }
    }

    private long load(String[] words) throws IOException, GeneralSecurityException {
        X509Certificate root = certificate(Files.readAllBytes(Path.of(words[1])));
        intermediate = certificate(Files.readAllBytes(Path.of(words[2])));
        List<CRL> crls = new ArrayList<>();
        for (int place = 3; place < words.length; place++) {
            try (InputStream input = Files.newInputStream(Path.of(words[place]))) {
                crls.add(factory.generateCRL(input));
            }
        }
        PKIXRevocationChecker checker =
                (PKIXRevocationChecker) validator.getRevocationChecker();
        checker.setOptions(EnumSet.of(
                PKIXRevocationChecker.Option.PREFER_CRLS,
                PKIXRevocationChecker.Option.NO_FALLBACK));
        parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertStore(
                CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
        parameters.addCertPathChecker(checker);
        return crls.size();
    }

    private X509Certificate certificate(byte[] encoded) throws CertificateException {
        return (X509Certificate)
                factory.generateCertificate(new ByteArrayInputStream(encoded));
    }

    private long readCertificates(Path path) throws IOException {
        certificates = new ArrayList<>();
        try (DataInputStream input = new DataInputStream(Files.newInputStream(path))) {
            while (input.available() > 0) {
                certificates.add(input.readNBytes(input.readInt()));
            }
        }
        forget();
        return certificates.size();
    }

    /** Empties the factory's cache, which has certificates that were parsed before. */
    private void forget() {
        try {
            factory.generateCertificate(null);
        } catch (CertificateException expected) {
            // It says that there is no input.
        }
    }

    private long check() throws GeneralSecurityException {
        long revoked = 0;
        for (byte[] encoded : certificates) {
            CertPath path = factory.generateCertPath(List.of(certificate(encoded), intermediate));
            try {
                validator.validate(path, parameters);
            } catch (CertPathValidatorException error) {
                if (error.getReason() != CertPathValidatorException.BasicReason.REVOKED) {
                    throw error;
                }
                revoked++;
            }
        }
        return revoked;
    }
}
