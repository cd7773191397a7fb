import { useId, useLayoutEffect, useRef, type ReactNode } from "react";

import { CloseIcon } from "./icons";

interface Props {
  readonly title: string;
  readonly onClose: () => void;
  /** Asked before a person closes it; absent: always. */
  readonly mayClose?: () => boolean;
  readonly children: ReactNode;
  readonly wide?: boolean;
  readonly testId: string;
}

/** The browser's own modal: it keeps the focus inside, makes the rest inert and gives the focus back. */
export function Dialog({ title, onClose, mayClose, children, wide = false, testId }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();

  // A layout effect, because its clean-up still finds the element in the page and close() gives the focus back.
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);

  const requestClose = () => {
    if (!mayClose || mayClose()) onClose();
    else if (element.current?.open === false) element.current.showModal();
  };

  return (
    <dialog
      ref={element}
      className={wide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={titleId}
      data-testid={testId}
      onCancel={(event) => {
        // Where it cannot be prevented, onClose follows.
        if (!event.cancelable) return;
        event.preventDefault();
        requestClose();
      }}
      // Chromium closes a dialog itself when Escape is pressed twice without anything in between.
      onClose={({ currentTarget }) => {
        if (currentTarget.isConnected && !currentTarget.open) requestClose();
      }}
    >
      <header className="dialog-head">
        <h2 id={titleId}>{title}</h2>
        <button type="button" className="icon-button" aria-label="Close" onClick={requestClose}>
          <CloseIcon />
        </button>
      </header>
      {children}
    </dialog>
  );
}
