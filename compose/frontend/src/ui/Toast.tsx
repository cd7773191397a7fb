import { useCallback, useEffect, useState } from "react";

const SHOWN_MS = 6_000;

interface Notice {
  readonly text: string;
  readonly number: number;
}

export function useToast(): [Notice | undefined, (text: string) => void] {
  const [notice, setNotice] = useState<Notice>();
  const show = useCallback((text: string) => setNotice((before) => ({ text, number: (before?.number ?? 0) + 1 })), []);

  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [notice]);

  return [notice, show];
}

/** The region is always in the page: screen readers announce only what changes in one they know. */
export function Toast({ notice }: { readonly notice: Notice | undefined }) {
  return (
    <div className="toast-region" role="status" data-testid="toast">
      {notice && (
        <p key={notice.number} className="toast">
          {notice.text}
        </p>
      )}
    </div>
  );
}
