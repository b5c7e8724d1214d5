"use strict";
// A "Copy" button below every read-only certificate. Without JavaScript the text can still be selected.
{
    const addButton = function(textarea) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button";
        button.textContent = textarea.dataset.copy;
        const status = document.createElement("span");
        status.setAttribute("role", "status");
        button.addEventListener("click", function() {
            textarea.select();
            // navigator.clipboard does not exist without TLS.
            if (document.execCommand("copy")) {
                status.textContent = textarea.dataset.copied;
            }
        });
        const line = document.createElement("p");
        line.append(button, " ", status);
        textarea.after(line);
    };
    const ready = function() {
        document.querySelectorAll("textarea[data-copy]").forEach(addButton);
    };
    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", ready);
    } else {
        ready();
    }
}
