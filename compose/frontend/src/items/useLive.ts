import { useEffect, useEffectEvent, useState } from "react";

import { LiveChannel, type ItemChanged } from "../api/live";
import type { Session } from "../session/session";

/** Whether changes arrive by themselves. Without the channel, coming back to the tab refreshes. */
export function useLive(session: Session, onChange: (change: ItemChanged | undefined) => void): boolean {
  const [connected, setConnected] = useState(false);
  const changed = useEffectEvent(onChange);

  useEffect(() => {
    const channel = new LiveChannel(() => session.accessToken(), {
      onChange: (change) => changed(change),
      onStatus: setConnected,
    });
    const stop = session.onRenewal(() => channel.renew());
    return () => {
      stop();
      channel.close();
    };
  }, [session]);

  useEffect(() => {
    const onVisible = () => {
      if (document.visibilityState === "visible") changed(undefined);
    };
    document.addEventListener("visibilitychange", onVisible);
    return () => document.removeEventListener("visibilitychange", onVisible);
  }, []);

  return connected;
}
