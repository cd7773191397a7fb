package cc03;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.sdk.autoconfigure.spi.ConfigProperties;
import io.opentelemetry.sdk.autoconfigure.spi.traces.ConfigurableSpanExporterProvider;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.time.Instant;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Writes each span as one JSON line to standard output, in the form of compose/backend/app/tracing.py: spans take the way of the
 * log lines, and Keycloak needs no connection to the log store. OpenTelemetry finds it by the name `lines` (quarkus.properties).
 */
public final class SpanLines implements ConfigurableSpanExporterProvider, SpanExporter {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int LONGEST = 500;
  /** Nothing else: the query string of a redirect, which is an attribute too, carries authorization codes. */
  private static final Set<String> ATTRIBUTES = Set.of(
      "http.request.method", "http.response.status_code", "url.path", "db.system", "db.system.name", "db.statement",
      "db.query.text", "error.type", "kc.realmName", "kc.clientId");

  @Override
  public String getName() {
    return "lines";
  }

  @Override
  public SpanExporter createExporter(ConfigProperties settings) {
    return this;
  }

  @Override
  public CompletableResultCode export(Collection<SpanData> spans) {
    for (SpanData span : spans) {
      try {
        System.out.println(JSON.writeValueAsString(line(span)));
      } catch (JsonProcessingException problem) {
        return CompletableResultCode.ofFailure();
      }
    }
    return CompletableResultCode.ofSuccess();
  }

  private static Map<String, Object> line(SpanData span) {
    boolean failed = span.getStatus().getStatusCode() == StatusCode.ERROR;
    long nanoseconds = span.getStartEpochNanos();
    Map<String, Object> line = new LinkedHashMap<>();
    span.getAttributes().forEach((key, value) -> {
      String text = value.toString();
      if (ATTRIBUTES.contains(key.getKey())) {
        line.put(key.getKey(), text.substring(0, Math.min(text.length(), LONGEST)));
      }
    });
    line.put("kind", "span");
    line.put("level", failed ? "error" : "info");
    line.put("message", span.getName());
    line.put("name", span.getName());
    line.put("trace_id", span.getTraceId());
    line.put("span_id", span.getSpanId());
    line.put("parent", span.getParentSpanContext().isValid() ? span.getParentSpanId() : "");
    line.put("start", Instant.ofEpochSecond(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000).toString());
    line.put("duration_ms", Math.round((span.getEndEpochNanos() - nanoseconds) / 1000.0) / 1000.0);
    line.put("status", failed ? "error" : "ok");
    return line;
  }

  @Override
  public CompletableResultCode flush() {
    return CompletableResultCode.ofSuccess();
  }

  @Override
  public CompletableResultCode shutdown() {
    return CompletableResultCode.ofSuccess();
  }
}
