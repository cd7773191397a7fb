import { BoxIcon } from "../ui/icons";

interface Props {
  readonly productName: string;
  readonly problem: string | undefined;
  readonly onSignIn: () => void;
}

export function SignedOut({ productName, problem, onSignIn }: Props) {
  return (
    <main className="welcome" data-testid="signed-out">
      <div className="welcome-card">
        <span className="mark mark-large">
          <BoxIcon />
        </span>
        <h1>{productName}</h1>
        <p className="muted">What is in stock, where it is and who changed it last.</p>
        {problem !== undefined && (
          <p className="notice notice-error" role="alert" data-testid="error">
            {problem}
          </p>
        )}
        <button type="button" className="button button-primary button-wide" data-testid="sign-in" onClick={onSignIn}>
          Sign in
        </button>
      </div>
    </main>
  );
}
