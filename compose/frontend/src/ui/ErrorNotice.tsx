import { ApiError } from "../api/http";

interface Props {
  readonly error: unknown;
  readonly onRetry?: () => void;
  /** What the button says. */
  readonly action?: string;
}

export function ErrorNotice({ error, onRetry, action = "Try again" }: Props) {
  const requestId = error instanceof ApiError ? error.requestId : undefined;
  return (
    <div className="notice notice-error" role="alert" data-testid="error">
      <p>{error instanceof Error ? error.message : "Something went wrong."}</p>
      {requestId !== undefined && (
        <p className="notice-detail">
          Request <code data-testid="request-id">{requestId}</code>
        </p>
      )}
      {onRetry && (
        <button type="button" className="button" onClick={onRetry}>
          {action}
        </button>
      )}
    </div>
  );
}
